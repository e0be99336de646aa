"""What makes this book: settings, runs, stored numbers, experiments, the report and the site."""
