"""Articles where they lie: folders, tables, lines; their texts and images, which others made."""
