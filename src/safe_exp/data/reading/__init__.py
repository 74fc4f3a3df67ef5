"""Reading articles where they lie, in folders, tables or lines; their texts and images are made by others."""
