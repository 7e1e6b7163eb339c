"""The script of the page in HTML, as it stands in it: draws its charts, and draws them anew when the reader chooses.

It is text in a module and no file of its own, so that its digest is one of those that a stage depends on.
"""

SCRIPT = """
'use strict';
(() => {
  const charts = JSON.parse(document.getElementById('charts').textContent);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

  const config = () => {
    const [ink, quiet, line] = ['ink', 'quiet', 'line'].map(colour);
    const told = ['first', 'second', 'third', 'fourth', 'fifth', 'sixth'].map(colour);
    return {
      font: 'system-ui, sans-serif',
      view: { stroke: null },
      axis: {
        labelColor: quiet, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: quiet,
        gridOpacity: 0.6, labelFontSize: 12, titleFontSize: 13, titleFontWeight: 'normal', labelOverlap: true,
      },
      legend: { labelColor: ink, titleColor: ink, labelFontSize: 12, labelLimit: 220 },
      range: { category: told },
    };
  };

  const chosen = (figure, what) => figure.querySelector(`input[data-choice="${what}"]:checked`)?.value;

  // The chart that the controls of a figure ask for.
  const asked = (figure) => {
    const variants = charts[figure.dataset.chart];
    const chart = variants[chosen(figure, 'cost') ?? Object.keys(variants)[0]];
    const themed = (_, name) => JSON.stringify(colour(name));
    const spec = JSON.parse(JSON.stringify(chart.spec).replace(/"theme:([a-z]+)"/g, themed));
    const scale = chosen(figure, 'scale');
    if (scale) spec.encoding.x.scale = chart.scales[scale];
    for (const param of spec.params ?? []) {
      const boxes = [...figure.querySelectorAll(`input[data-filter="${param.name.replace('shown_', '')}"]`)];
      const off = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
      param.value = param.value.filter((value) => !off.has(value));
    }
    return spec;
  };

  const draw = async (figure) => {
    const place = figure.querySelector('.chart');
    try {
      await figure.drawn?.finalize();
      const theme = dark.matches ? 'dark' : 'light';
      // `ast`: expressions are interpreted, as the page's policy forbids making code of text.
      const options = { actions: false, renderer: 'svg', ast: true, config: config(), tooltip: { theme } };
      figure.drawn = await vegaEmbed(place, asked(figure), options);
      figure.dataset.times = String(Number(figure.dataset.times ?? 0) + 1);
    } catch (error) {
      place.textContent = 'This chart could not be drawn: ' + error.message;
    }
  };

  // One drawing of a figure at a time, or an earlier choice could come out on top of a later one.
  const redraw = (figure) => { figure.queue = (figure.queue ?? Promise.resolve()).then(() => draw(figure)); };

  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    figure.addEventListener('change', () => redraw(figure));
    for (const button of figure.querySelectorAll('button[data-all]')) {
      button.addEventListener('click', () => {
        for (const box of button.closest('fieldset').querySelectorAll('input')) {
          box.checked = button.dataset.all === 'yes';
        }
        redraw(figure);
      });
    }
    redraw(figure);
    dark.addEventListener('change', () => redraw(figure));
  }

  const pick = document.getElementById('model');
  if (pick) {
    const parts = [...document.querySelectorAll('section[data-model]')];
    const show = () => { for (const part of parts) part.hidden = part.dataset.model !== pick.value; };
    pick.addEventListener('change', show);
    pick.closest('p').hidden = false;
    show();
  }
})();
"""
