"""PostgreSQL: every statement of the program, in typed functions, and what they run on."""
