"""The style of the page in HTML: light or dark as the reader's system is, and down to a phone's width.

It is text in a module and no file of its own, so that its digest is one of those that a stage depends on.
"""

# Okabe and Ito's colours, which colour-blind readers tell apart; on dark ground the lighter ones of them.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f6f8; --ink: #1c1f23; --quiet: #5a626c; --line: #d9dde2;
  --first: #0072b2; --second: #8a8f96; --third: #d55e00; --fourth: #00785a; --fifth: #a8517f; --sixth: #8a6d00;
  --budget: #009e7322;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --raised: #1e2226; --ink: #e8eaed; --quiet: #a3abb5; --line: #373d44;
    --first: #56b4e9; --second: #8e959d; --third: #ff8a3d; --fourth: #2fc79b; --fifth: #dc93b8; --sixth: #e0b84c;
    --budget: #2fc79b26;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 82rem; padding: 1rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.6rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 0.4rem; }
p, figure { margin: 0.5rem 0; }
.quiet, figcaption { color: var(--quiet); font-size: 0.9rem; }
.chart { width: 100%; min-height: 24rem; }
.chart.vega-embed { display: block; }
.controls { display: flex; flex-wrap: wrap; gap: 0.3rem 1.4rem; margin: 0.6rem 0; }
fieldset { border: 0; margin: 0; padding: 0; display: flex; flex-wrap: wrap; gap: 0.1rem 0.8rem; min-width: 0; }
legend { float: left; margin-right: 0.6rem; padding: 0; color: var(--quiet); }
label { white-space: nowrap; padding: 0.15rem 0; }
details.pick { flex-basis: 100%; }
details.pick fieldset { padding: 0.3rem 0 0.3rem 1rem; }
summary { cursor: pointer; color: var(--quiet); }
button, select {
  font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--line); border-radius: 0.3rem;
  padding: 0.2rem 0.6rem; max-width: 100%;
}
.signs { display: flex; flex-wrap: wrap; gap: 0.1rem 1.2rem; list-style: none; padding: 0; margin: 0.4rem 0; }
.sign { font-style: normal; display: inline-block; width: 1.1em; text-align: center; }
.sign.teacher, .sign.level { color: var(--third); }
.sign.front { color: var(--first); }
.sign.dominated { color: var(--second); }
.sign.budget { background: var(--budget); border: 1px solid var(--line); height: 0.8em; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 0.3rem; margin: 0.6rem 0; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
tr:last-child > td, tr:last-child > th { border-bottom: 0; }
th { background: var(--raised); font-weight: 600; }
td:first-child, th:first-child { text-align: left; position: sticky; left: 0; background: var(--ground); }
thead th:first-child { background: var(--raised); }
.confusion td { --part: 0%; background: color-mix(in srgb, var(--first) var(--part), var(--ground)); }
.confusion td.hit { font-weight: 700; }
.confusion { width: auto; }
.rows td, .rows th { text-align: left; white-space: normal; vertical-align: top; min-width: 7rem; }
.rows td.text { min-width: 16rem; white-space: pre-line; }
.mistakes td:first-child, .mistakes th:first-child { min-width: 0; white-space: nowrap; }
.worse { color: var(--third); }
.better { color: var(--fourth); }
[hidden] { display: none; }
code { font-size: 0.9em; }
#vg-tooltip-element { max-width: min(24rem, 92vw); }
#vg-tooltip-element table { width: auto; }
#vg-tooltip-element td { position: static; white-space: normal; background: none; border: 0; padding: 1px 4px; }
"""
