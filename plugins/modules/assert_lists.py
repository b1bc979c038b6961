#!/usr/bin/python
# Apache-2.0 (see LICENSE)
"""Refuse words where lists are meant; the action plugin of the same name does it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: assert_lists
short_description: Refuse words where lists are meant
description:
  - Fails where one of the variables is a word, as C(-e name=one,two) makes it, and says how to give a list.
  - The specification of a role's arguments takes a word for a list, and Jinja takes it apart into letters.
  - Works in Ansible's own process, also in check mode.
options:
  variables:
    description: Names of variables, each of which is set.
    type: list
    elements: str
    required: true
author: The hybrid platform authors
"""

EXAMPLES = r"""
- name: Refuse words where lists are meant
  hybrid.platform.assert_lists:
    variables: [firewall_management_sources, firewall_allow]
"""

RETURN = "{}"
