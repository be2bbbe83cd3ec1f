// Live pages: the server says that something changed, the page takes its own new content. Logs grow at their end.
(function () {
  "use strict";
  var body = document.body, main = document.getElementById("main"), pulse = document.getElementById("pulse");
  var timer = 0, busy = false, again = false, touched = {};

  function say(state, text) {
    pulse.className = "pulse " + state;
    pulse.lastElementChild.textContent = text;
  }
  function typing() {
    var one = document.activeElement;
    if (one && main.contains(one) && /^(INPUT|SELECT|TEXTAREA)$/.test(one.tagName)) { return true; }
    return Array.prototype.some.call(main.querySelectorAll(".ballot input"), function (said) { return said.value !== said.defaultValue; });
  }
  function swap(html) {
    var open = {};
    main.querySelectorAll("details[id]").forEach(function (one) { if (touched[one.id]) { open[one.id] = one.open; } });
    var focus = document.activeElement && document.activeElement.id;
    var across = {};
    main.querySelectorAll(".scroll").forEach(function (one, index) { across[index] = one.scrollLeft; });
    main.innerHTML = html;
    Object.keys(open).forEach(function (id) { var one = document.getElementById(id); if (one) { one.open = open[id]; } });
    main.querySelectorAll(".scroll").forEach(function (one, index) { one.scrollLeft = across[index] || 0; });
    if (focus && document.getElementById(focus)) { document.getElementById(focus).focus({ preventScroll: true }); }
    window.formicaryTimes();
  }
  function refresh() {
    timer = 0;
    if (busy || typing()) { again = true; return; }
    busy = true; again = false;
    fetch(location.pathname + "?fragment=1", { credentials: "same-origin" }).then(function (answer) {
      if (answer.status === 401 || answer.redirected) { location.reload(); return null; }
      return answer.ok ? answer.text() : null;
    }).then(function (html) { if (html !== null) { swap(html); } }).catch(function () { again = true; }).finally(function () {
      busy = false;
      if (again && !typing()) { soon(); }
    });
  }
  function soon() { if (!timer) { timer = setTimeout(refresh, 150); } }
  main.addEventListener("click", function (event) {
    var summary = event.target.closest("summary");
    if (summary) { touched[summary.parentElement.id] = true; }
  });
  main.addEventListener("focusout", function () { if (again) { soon(); } });

  function follow(source) {
    source.addEventListener("open", function () { say("on", "live"); });
    source.addEventListener("error", function () { say("gone", source.readyState === 2 ? "disconnected" : "reconnecting"); });
  }
  function watch() {
    var source = new EventSource(body.dataset.watch);
    follow(source);
    source.addEventListener("open", soon); // what happened since the page was made, or the connection broke
    source.addEventListener("changed", soon);
  }

  function tail() {
    var log = document.getElementById("log"), count = document.getElementById("count");
    var groups = log.querySelectorAll(".grp");
    var target = log.dataset.open ? groups[groups.length - 1] : log;
    var source = new EventSource(body.dataset.tail);
    follow(source);
    function add(html) {
      var end = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 80;
      var none = log.querySelector(".none");
      if (none) { none.remove(); }
      target.insertAdjacentHTML("beforeend", html);
      while (log.querySelectorAll(".l").length > 5000) { log.querySelector(".l").remove(); }
      if (end && !location.hash) { window.scrollTo(0, document.documentElement.scrollHeight); }
    }
    source.addEventListener("lines", function (event) {
      add(event.data);
      var last = log.querySelectorAll(".l");
      count.textContent = last[last.length - 1].id.slice(1);
    });
    source.addEventListener("group", function (event) {
      target = document.createElement("details");
      target.className = "grp"; target.open = true;
      var summary = document.createElement("summary");
      summary.innerHTML = event.data;
      target.appendChild(summary);
      log.appendChild(target);
    });
    source.addEventListener("endgroup", function () { target = log; });
    source.addEventListener("end", function () {
      source.close();
      body.removeAttribute("data-tail");
      say("on", "complete");
      refresh();
    });
  }

  if (body.dataset.tail) { tail(); } else if (body.dataset.watch) { watch(); } else { say("on", "complete"); }
})();
