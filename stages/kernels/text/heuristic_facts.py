"""The numbers that stage `heuristics` measures, in the order in which its kernel writes them."""

TOP = (2, 3, 4)
REPEATED = (5, 6, 7, 8, 9, 10)

FACTS = (
    "num_words",
    "mean_word_length",
    "hash_ratio",
    "ellipsis_ratio",
    "bullet_lines",
    "ellipsis_lines",
    "alpha_words",
    "stop_words",
    "duplicate_lines",
    "duplicate_line_chars",
    "duplicate_paragraphs",
    "duplicate_paragraph_chars",
    *(f"top_{n}gram" for n in TOP),
    *(f"duplicate_{n}grams" for n in REPEATED),
    "line_punctuation",
    "short_lines",
    "line_duplicate_chars",
    "newlines_per_word",
    "curly_brackets",
    "lorem_ipsum",
    "sentences",
)
