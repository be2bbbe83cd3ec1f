"""The command: words FILE."""

import sys

from words.count import most_common, words


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    print(f"{len(words(text))} words; most often:")
    for word, times in most_common(text):
        print(f"  {word}: {times}")
