"""What a program or a notebook calls: recipes by name or as plain values, results that show themselves, tables in
memory. `import winnow` offers these names; the modules behind take the arguments that they were made for.
"""
