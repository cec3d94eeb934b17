"""Text that spreadsheets take as text: names of files and classes are other people's words."""

import unicodedata

# How spreadsheets know a formula. Some take these after a tab or a line break, too.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_formula(text: str) -> str:
    """With an apostrophe before what a spreadsheet would compute. The signs count in their wide forms as well, which
    some spreadsheets read like the others."""
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]).startswith(FORMULA_SIGNS) else text
