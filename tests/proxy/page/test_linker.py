"""The page's modules become one script that does the same, or are refused with file and line."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.page.linker import link
from proxy.page.modules import UnusablePage

# Whatever could be taken for a comment, an import or an indentation, and is none.
TEXTS = r"""/** A comment of `one`. */
import {
  counted, // why
  Thing,
} from '../two.js';
import { last } from './three.js';

export const name = 'one'; /* not
  a call: */ (name.length);
const pattern = /\/\*[/*]"`/.source; // "
export async function* all() { yield await 1; }
class Other extends Thing { static #own = `deep
    ${counted('//') /* here */} and ${ `in
      it` } // no comment
    `; get own() { return Other.#own; } }
const joined = 'a\
    b';
console.log(JSON.stringify([name, pattern, new Other().own, joined, new Thing().own, last,
  "import x from 'y'; // no", 'x'.replace(/[/]/, '/*'), counted('*/'), typeof Thing, typeof all]));
export function own({ last, name = last, ...pattern } = {}) { return [this, last, name, pattern]; }
console.log(own({ last: 'z' }), ((counts) => ({ counts, last }))(7), 1 - -1, 2 / 2 / 1, [1, , 2]
  .map((size) => size > 1 ? !size : size * -1));
{ const name = 'inner'; label: for (const last of [name]) { console.log(last); continue label; } }
"""
MODULES = {
    "js/view/one.js": TEXTS,
    "js/two.js": """import { last } from './view/three.js';
        const name = 'two', counts = [];
        const [{ last: pattern, size }, ...others] = [{ last: 1, size: 2 }, 3];
        export function counted(text) { counts.push(text); return counts.length + last + pattern
          + size + others; }
        export class Thing {
          #named = name; #mine = { ['#named']: 1 };
          get own() { return #mine in this ? this.#named : ''; }
        }
    """,
    "js/view/three.js": "const name = 'three';\nexport const last = 'l' // no semicolon\n",
    "js/unneeded.js": "this is not JavaScript",
}


def test_script_does_what_the_modules_do(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node")
    for name, text in MODULES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    script = linked(MODULES, "js/view/one.js")
    (tmp_path / "linked.js").write_text(script)
    expected, got = (
        subprocess.run([node, path], cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S603
        for path in ("js/view/one.js", "linked.js")
    )
    assert got.stdout == expected.stdout
    assert json.loads(got.stdout.splitlines()[0])[0] == "one"
    for left_out in ("why", "here is none", "A comment", " const", "unneeded"):
        assert left_out not in script


def linked(modules: dict[str, str], first: str) -> str:
    return link({name: text.encode() for name, text in modules.items()}, first)


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("import all from './b.js';", 1, "only import { names }"),
        ("import * as all from './b.js';", 1, "only import { names }"),
        ("import './b.js';", 1, "only import { names }"),
        ("import { b as c } from './b.js';", 1, "only import { names }"),
        ("if (1) { var c = 1; }", 1, "var is not supported"),
        ("const { c = 1 } = {};", 1, "only plain patterns"),
        ("\nimport { b }\n from 'b';", 2, "there is no module 'b'"),
        ("import { b } from './c.js';", 1, "there is no module './c.js'"),
        ("import { c } from './b.js';", 1, "'./b.js' does not export 'c'"),
        ("\n\nexport default class {}", 3, "only export function, class or const"),
        ("export let c = 1;", 1, "only export function, class or const"),
        ("export const { c } = {};", 1, "only export function, class or const"),
        ("export const c = 1, d = 2;", 1, "only export function, class or const"),
        ("const c = 1;\nexport { c };", 2, "only export function, class or const"),
        ("export * from './b.js';", 1, "only export function, class or const"),
        ("const c = () => import('./b.js');", 1, "import() of a module"),
        ("use(new.target, import.meta.url);", 1, "import.meta is not supported"),
        ("await 1;", 1, "await outside of a function"),
        ("for await (const c of []) {}", 1, "await outside of a function"),
        ("{ export const c = 1; }", 1, ""),
        ("const c = 1;\nconst = 2;", 2, "this is no JavaScript"),
        ("function c( {", 1, "this is no JavaScript"),
    ],
)
def test_what_cannot_be_linked_is_refused(text: str, line: int, why: str) -> None:
    with pytest.raises(UnusablePage, match=rf"^js/a\.js:{line}: ") as refused:
        linked({"js/a.js": text, "js/b.js": "export const b = 1;"}, "js/a.js")
    assert why in str(refused.value)


def test_circle_is_refused() -> None:
    modules = {
        "a.js": "import { b } from './b.js';",
        "b.js": "import { c } from './c.js';\nexport const b = 1;",
        "c.js": "\nimport { b } from './b.js';\nexport const c = 1;",
    }
    with pytest.raises(UnusablePage, match=r"c\.js:2: .* in a circle: b\.js -> c\.js -> b\.js"):
        linked(modules, "a.js")


def test_two_imports_of_one_module_run_it_once() -> None:
    modules = {
        "a.js": "import { b } from './b.js';\nimport { c } from './c.js';",
        "b.js": "import { c } from './c.js';\nexport const b = 1;",
        "c.js": "export const c = 1;",
    }
    assert linked(modules, "a.js").count("=1;") == 2


def test_names_keep_their_meaning() -> None:
    modules = {
        "a.js": """import { shown } from './b.js';
            export function outer(text, { size = text.length, ...others }) {
                const inner = (value) => value + size + a + document.title;
                const name = inner(others), status = () => 1;
                return { text, name, status, shown, sum(all) { return all; } };
            }
            class Box { #held; hold(text) { const size = 1; this.#held = { text, size }; } }
            const title = globalName + ((globalName) => globalName)(outer);
        """,
        "b.js": "export const shown = 1;",
    }
    script = linked(modules, "a.js")
    for kept in (
        # Of functions within, and methods; what is global, or may be; properties.
        "inner=(", "hold(", "sum(", "document.title", "{size:",
        "return{text:", "status=()=>1", "+ a +", "shown", ".length",
        "globalName +((globalName)=>globalName)(",
    ):  # fmt: skip
        assert kept in script, script
    for shortened in ("outer", "Box", "size +", "others", "value", "#held", "const size"):
        assert shortened not in script, script
