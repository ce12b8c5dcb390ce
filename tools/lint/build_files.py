# SPDX-License-Identifier: Apache-2.0
"""What BUILD files declare, read without running Bazel: they are Python to the parser."""

import ast


class Rule:
    def __init__(self, kind, name, line, keywords):
        self.kind = kind
        self.name = name
        self.line = line
        self._keywords = keywords

    def strings(self, attribute):
        """Every string in the attribute's value, whichever list, select or sum it stands in."""
        value = self._keywords.get(attribute)
        if value is None:
            return []
        return [n.value for n in ast.walk(value) if isinstance(n, ast.Constant) and isinstance(n.value, str)]

    def is_true(self, attribute):
        value = self._keywords.get(attribute)
        return isinstance(value, ast.Constant) and value.value in (True, 1)


def default_visibility(text):
    """What package() says. Raises SyntaxError."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "package":
            keywords = {k.arg: k.value for k in node.keywords if k.arg}
            return Rule("package", "", node.lineno, keywords).strings("default_visibility")
    return []


def rules(text):
    """The calls with a name, in a list comprehension or not. Raises SyntaxError."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Name, ast.Attribute)):
            continue
        kind = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        keywords = {k.arg: k.value for k in node.keywords if k.arg}
        if "name" in keywords:
            names = [n.value for n in ast.walk(keywords["name"]) if isinstance(n, ast.Constant)]
            found.append(Rule(kind, "".join(map(str, names)), node.lineno, keywords))
    return found
