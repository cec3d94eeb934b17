"""Turn stored results into tables, figures and the HTML report."""
