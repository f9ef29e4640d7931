"""WHAT COMES IN: task files, tables, chat files, data checks, personal data."""
