"""Text that spreadsheets take as text: names of files and classes are other people's words."""

import unicodedata

# How spreadsheets know a formula. Some take these after a tab or a line break, too.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def inert(text: str) -> str:
    """With an apostrophe before what a spreadsheet would compute. The signs count in their wide forms as well, which
    some spreadsheets read like the others."""
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]).startswith(FORMULA) else text
