"""A sweep as tables, figures and one HTML page."""
