"""Build the HTML report from stored results: chapters, what the page shows of them, one file."""
