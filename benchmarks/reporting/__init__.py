"""A comparison as a terminal table, Markdown, JSON and one HTML page."""
