"""A chat template is rendered as Jinja renders it, and never for long or into much."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sightweave.data.inputs.sandbox import MAX_SOURCE, Sandbox, TooMuchError, check

OPTIONS: dict[str, Any] = {
    "trim_blocks": True,
    "lstrip_blocks": True,
    "extensions": ["jinja2.ext.loopcontrols"],
}
MESSAGES = [{"role": "system", "content": " be kind "}, {"role": "user", "content": "hello"}]
USUAL = [
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' ~ m.content | trim }}{% if loop.last %}!{% endif %}{% endfor %}",
    "{% set ns = namespace(x='') %}{% for m in messages %}{% set ns.x = ns.x ~ m.role %}{% endfor %}{{ ns.x }}",
    "{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('a') ~ f(messages[0].role) }}",
    "{{ messages|map(attribute='role')|join(',') }}{{ 'x' * 3 }}{{ 2 ** 10 }}{{ '%s-%02d' % ('a', 3) }}",
    "{{ '{:>5}'.format('a') }}{{ messages | tojson(indent=2) }}{{ 'a,b'.split(',') | length }}{{ none }}",
    "{% for x in [[1, [2]], [3]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}",
    "{% for x in range(5) if x % 2 %}{% if x > 3 %}{% break %}{% endif %}{{ x }}/{{ loop.length }};{% endfor %}",
    "{% for x in [] %}{% else %}none{% endfor %}{{ messages[1:] }}{{ true }}{{ missing }}",
]
ENDLESS = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
    "{% for x in [1] recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{{ 'x' * 10**9 }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x' | center(10**9) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '%999999999d' | format(1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=10**9) }}",
    "{{ 10 ** 10 ** 9 }}",
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "{% set ns = namespace(x=3) %}{% for i in range(90) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "{% set a = 'x' * 90000 %}{{ a.replace('x', a) }}",
    "{% set a = 'x' * 90000 %}{{ a | replace('x', a) }}",
    "{% set a = ['x' * 90000] * 90000 %}{{ a }}",
    "{{ range(99999) | join('x' * 99999) }}",
    "{{ range(99999) | map('string') | join('x' * 99999) | length }}",
    "{{ range(99999) | map('center', 90000) | list | length }}",
    "{% set x %}{% for i in range(90000) %}{{ 'x' * 4000 }}{% endfor %}{% endset %}{{ x | length }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% for i in [1] %}" * 60 + "{% endfor %}" * 60,
    "x" * (MAX_SOURCE + 1),
]


@pytest.mark.parametrize("source", USUAL)
def test_usual_templates_are_rendered_as_by_jinja(source: str) -> None:
    expected = ImmutableSandboxedEnvironment(**OPTIONS).from_string(source).render(messages=MESSAGES)
    template = Sandbox(**OPTIONS).from_string(source)
    assert template.render(messages=MESSAGES) == expected
    assert template.render(messages=MESSAGES) == expected  # each rendering has a budget of its own


@pytest.mark.parametrize("source", ENDLESS)
def test_what_takes_too_long_or_is_too_long_is_stopped(source: str) -> None:
    with pytest.raises(TooMuchError):
        Sandbox(**OPTIONS).from_string(source).render(messages=MESSAGES)
    with pytest.raises(TooMuchError):
        check(source)


def test_what_jinja_itself_forbids_stays_forbidden() -> None:
    for source in ("{{ ().__class__.__bases__ }}", "{{ messages.append(1) }}", "{{ lipsum(3) }}"):
        with pytest.raises(jinja2.TemplateError):
            Sandbox(**OPTIONS).from_string(source).render(messages=[])


def test_other_mistakes_are_left_to_who_renders_it() -> None:
    check("{{ raise_exception('no') }}")
    check("{{ 1 / 0 }}{% generation %}a{% endgeneration %}")
    check("{% not jinja")
    with pytest.raises(TooMuchError):
        check("{%- generation -%}{{ 'x' * 10**9 }}{% endgeneration %}")
