"""How it is said: tables, plots, pages."""
