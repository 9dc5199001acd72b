"""How far the estimates are from what others have measured on such chips, and published."""
