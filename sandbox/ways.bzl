# SPDX-License-Identifier: Apache-2.0
"""How the tests of workers start theirs: what each way sets in a test's environment (testing_spawn.h)."""

WAYS = {
    "": {},
    "_cloned": {"PARLEY_TEST_CLONED": "1"},
    "_cloned_without_namespaces": {
        "PARLEY_TEST_CLONED": "1",
        "PARLEY_TEST_NO_NAMESPACES": "1",
    },
    "_without_namespaces": {"PARLEY_TEST_NO_NAMESPACES": "1"},
}
