"""The counting itself."""

import re
from collections import Counter

WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text):
    """The words of a text, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def most_common(text, number=3):
    """The words that come most often, with how often; those that come equally often in the order of the alphabet."""
    counted = Counter(words(text))
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:number]
