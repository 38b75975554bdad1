"""A report file as a page to read (HTML), a text (Markdown) and a table (CSV)."""
