"""The template of the page in HTML, in Jinja's language; everything that it is given is escaped.

It is text in a module and no file of its own, so that its digest is one of those that a stage depends on.
"""

TEMPLATE = """\
{% macro choice(chart, what, values) %}
<fieldset><legend>{{ what }}</legend>
{% for value, said in values.items() %}
<label><input type="radio" name="{{ chart }}-{{ what }}" data-choice="{{ what }}" value="{{ value }}"\
{{ ' checked' if loop.first }}> {{ said }}</label>
{% endfor %}
</fieldset>
{% endmacro %}
{% macro filter(what, values) %}
<fieldset><legend>{{ what }}</legend>
{% for value in values %}
<label><input type="checkbox" data-filter="{{ what }}" value="{{ value }}" checked> {{ value }}</label>
{% endfor %}
{% if values | length > 3 %}
<button type="button" data-all="yes">all</button> <button type="button" data-all="no">none</button>
{% endif %}
</fieldset>
{% endmacro %}
{% macro filters_of(chart) %}
{% for what, values in filters[chart].items() %}
{% if values | length > 5 %}
<details class="pick"><summary>{{ values | length }} {{ what }}s shown or hidden</summary>
{{ filter(what, values) }}
</details>
{% else %}
{{ filter(what, values) }}
{% endif %}
{% endfor %}
{% endmacro %}
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>{{ style }}</style>
<script>{{ library }}</script>
</head>
<body>
<h1>{{ title }}</h1>
<p class="quiet">{{ comparison.models | length }} models of one task ({{ figures.kind }}): {{ comparison.metric }} \
over {{ figures.examples }} examples of {{ figures.split }}</p>
<noscript><p>The charts need JavaScript; the tables do not.</p></noscript>

<figure data-chart="trade">
<div class="controls">
{{ choice("trade", "cost", costs) }}
{{ choice("trade", "scale", scales) }}
{{ filters_of("trade") }}
</div>
<div class="chart" id="trade"></div>
<ul class="signs">
<li><i class="sign teacher">★</i> teacher</li>
<li><i class="sign front">●</i> on the front</li>
<li><i class="sign dominated">●</i> dominated</li>
{% if finished %}<li><i class="sign front">◆</i> finished</li>{% endif %}
{% if links %}<li><i class="sign dominated">■</i> on the way</li>{% endif %}
<li><i class="sign level">┄</i> teacher's level</li>
{% if budget %}<li><i class="sign budget"></i> within the budget (size)</li>{% endif %}
</ul>
<figcaption>Point at a model for its figures, or touch it. The front is that of all models, also of those that are \
hidden.</figcaption>
</figure>

<h2>All models</h2>
{{ table }}

{% if formats %}
<h2>Other formats: what they keep, against their size</h2>
<figure data-chart="formats">
<div class="controls">
{{ choice("formats", "scale", scales) }}
{{ filters_of("formats") }}
</div>
<div class="chart" id="formats"></div>
</figure>
{% endif %}
{% for chart, name in curves.items() %}
<h2>{{ name }}: what pruning did</h2>
<figure data-chart="{{ chart }}"><div class="chart" id="{{ chart }}"></div></figure>
{% endfor %}

{% if details %}
<h2>One model by itself</h2>
<p hidden><label for="model">model</label> <select id="model">
{% for model in details %}
<option value="{{ loop.index0 }}"{{ ' selected' if loop.last }}>{{ model.name }}</option>
{% endfor %}
</select></p>
{% for model in details %}
<section data-model="{{ loop.index0 }}">
<h3>{{ model.name }}</h3>
{% if model.mistakes %}
{% set lost = model.mistakes %}
{% if lost.scores %}
<p>Its error is larger than the teacher's on {{ lost.lost }} of {{ figures.examples }} rows of {{ figures.split }}, \
and smaller on {{ lost.won }}.\
{% else %}
<p>It gets {{ lost.lost }} of {{ figures.examples }} rows of {{ figures.split }} wrong that the teacher gets right, \
and {{ lost.won }} right that the teacher gets wrong.\
{% endif %}
{% if lost.shown %} Here {{ "are" if lost.shown | length > 1 else "is" }} {{ lost.shown | length }} of the first, the \
worst on top.{% endif %}</p>
{% if lost.shown %}
<div class="scroll"><table class="rows mistakes">
<thead><tr><th>row</th><th>text</th><th>right</th><th>teacher</th><th>{{ model.name }}</th></tr></thead>
<tbody>
{% for row in lost.shown %}
<tr><td>{{ row.row }}</td><td class="text">{{ row.texts | join("\\n") }}</td><td>{{ row.right }}</td>\
<td>{{ row.teacher }}</td><td class="worse">{{ row.given }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
{% endif %}
{% if model.scores %}
<h3>{{ model.name }}: each {{ model.each }}</h3>
<div class="scroll"><table class="classes">
<thead><tr><th>label</th><th>there</th><th>precision</th><th>recall</th><th>F1</th>\
<th>teacher's F1</th><th>difference</th></tr></thead>
<tbody>
{% for name, score in model.scores.items() %}
<tr><td>{{ name }}</td><td>{{ score.there }}</td><td>{{ "%.4f" | format(score.precision) }}</td>\
<td>{{ "%.4f" | format(score.recall) }}</td><td>{{ "%.4f" | format(score.f1) }}</td>
{% if name in teacher_scores %}
{% set gap = score.f1 - teacher_scores[name].f1 %}
<td>{{ "%.4f" | format(teacher_scores[name].f1) }}</td>\
<td class="{{ 'worse' if gap < 0 else 'better' if gap > 0 }}">{{ "%+.4f" | format(gap) }}</td></tr>
{% else %}
<td>–</td><td>–</td></tr>
{% endif %}
{% endfor %}
</tbody></table></div>
{% endif %}
{% if model.confusion and model.confusion.names %}
<h3>{{ model.name }}: what is right (down) and what it says (across)</h3>
<div class="scroll"><table class="confusion">
<thead><tr><th></th>{% for name in model.confusion.names %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name in model.confusion.names %}
{% set right = loop.index0 %}
{% set counts = model.confusion.counts[right] %}
<tr><th>{{ name }}</th>{% for count in counts %}
<td class="{{ 'hit' if loop.index0 == right }}" \
style="--part: {{ (60 * count / ([counts | sum, 1] | max)) | round | int }}%">{{ count }}</td>\
{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% elif model.confusion and model.confusion.most %}
<h3>{{ model.name }}: what it confuses most</h3>
<div class="scroll"><table class="rows">
<thead><tr><th>right</th><th>what it says</th><th>times</th></tr></thead>
<tbody>
{% for right, given, count in model.confusion.most %}
<tr><td>{{ right }}</td><td>{{ given }}</td><td>{{ count }}</td></tr>
{% endfor %}
</tbody></table></div>
{% endif %}
</section>
{% endfor %}
{% endif %}

{{ sections }}
<script type="application/json" id="charts">{{ charts }}</script>
<script>{{ script }}</script>
</body>
</html>
"""
