//! What a directory answers, and what nodes tell it.
