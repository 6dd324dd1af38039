//! Proto: the language that managers, workers and users share. Knows nobody.
