"""What the rules about texts know of a language: stop words, words of spaceless scripts, limits learned from text."""
