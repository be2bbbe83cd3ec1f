import unittest

from words.count import most_common, words


class Count(unittest.TestCase):
    def test_words_are_lower_case_and_without_punctuation(self):
        self.assertEqual(words("Ants, don't sleep!"), ["ants", "don't", "sleep"])

    def test_no_text_has_no_words(self):
        self.assertEqual(words(""), [])

    def test_the_most_common_come_first(self):
        self.assertEqual(most_common("b a b c", 2), [("b", 2), ("a", 1)])


if __name__ == "__main__":
    unittest.main()
