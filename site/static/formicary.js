// Theme and readable times. Works from a file; asks nobody for anything.
(function () {
  "use strict";
  var root = document.documentElement;
  var themes = ["", "light", "dark"];
  var words = { "": "as the system", light: "light", dark: "dark" };

  function stored() {
    try { return localStorage.getItem("formicary-theme") || ""; } catch (e) { return ""; }
  }
  function wear(theme) {
    if (theme === "light" || theme === "dark") { root.dataset.theme = theme; } else { delete root.dataset.theme; }
    var button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      button.title = "Colours: " + words[theme];
      button.setAttribute("aria-label", button.title);
    }
  }
  function next() {
    var theme = themes[(themes.indexOf(stored()) + 1) % themes.length];
    try { localStorage.setItem("formicary-theme", theme); } catch (e) { /* it holds for this page */ }
    wear(theme);
  }
  wear(stored());

  function units(seconds) {
    if (seconds < 60) { return Math.floor(seconds) + " s"; }
    if (seconds < 3600) { return Math.floor(seconds / 60) + " min" + (seconds < 600 ? " " + Math.floor(seconds % 60) + " s" : ""); }
    if (seconds < 86400) { return Math.floor(seconds / 3600) + " h" + (seconds < 36000 ? " " + Math.floor(seconds % 3600 / 60) + " min" : ""); }
    return Math.floor(seconds / 86400) + " d";
  }
  function ago(seconds) {
    if (seconds < -1) { return "in " + units(-seconds); }
    if (seconds < 10) { return "just now"; }
    if (seconds < 3600) { return seconds < 60 ? Math.floor(seconds) + " s ago" : Math.floor(seconds / 60) + " min ago"; }
    return (seconds < 86400 ? Math.floor(seconds / 3600) + " h" : Math.floor(seconds / 86400) + " d") + " ago";
  }
  function tell() {
    var now = Date.now();
    document.querySelectorAll("time").forEach(function (one) {
      if (!one.title) { one.title = one.textContent.replace(/^since /, ""); }
      var seconds = (now - Date.parse(one.dateTime)) / 1000;
      var text = one.classList.contains("el") ? units(Math.max(seconds, 0)) : ago(seconds);
      if (one.textContent !== text) { one.textContent = text; }
    });
  }
  window.formicaryTimes = tell;

  document.addEventListener("DOMContentLoaded", function () {
    wear(stored());
    document.getElementById("theme").addEventListener("click", next);
    tell();
    setInterval(tell, 1000);
  });
})();
