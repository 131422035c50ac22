enum PlaceholderTidyTests {}
