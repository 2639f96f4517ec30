"""What the paper's page looks like, and the one script in it; plain text, nothing is filled in.

The page is one file that opens without a network, so both are written into it. Every colour is a
custom property of ``:root``, once for light and once for dark, so that a test can compute the
contrasts. The page says everything without the script, which only counts, copies and unfolds.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f5f6f8; --line: #d5dae0; --text: #1b1f24; --faint: #55606b;
  --accent: #12606b; --good: #0f6a42; --near: #1c5aa3; --bad: #a61b1b; --odd: #855000;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171b; --card: #1d2126; --line: #3a414a; --text: #e8ebee; --faint: #a7b0ba;
    --accent: #72cbc8; --good: #62d2a2; --near: #8fbcf7; --bad: #ff9d94; --odd: #efb561;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--text); overflow-wrap: break-word;
  font: 1rem/1.6 Charter, "Bitstream Charter", "Iowan Old Style", Cambria, Georgia, serif; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; font-weight: 600; }
h1 { font-size: clamp(1.6rem, 1.2rem + 1.8vw, 2.4rem); margin: 0 0 .75rem; max-width: 24em; }
h2 { font-size: 1.55rem; margin: 0 0 1rem; }
h3 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p, li, dd { max-width: 44em; }
a { color: var(--accent); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table, small, nav, .badge, .filter, .more, .facts, .byline, summary, figcaption, .notes,
.finding dl {
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; z-index: 2; padding: .5rem 1rem; background: var(--ground); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }

.paper { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
.byline { color: var(--faint); font-size: .92rem; line-height: 1.5; margin: 0 0 .4rem; }
header.masthead { border-top: 4px solid var(--accent); padding-top: 1.5rem; }
main > section { border-top: 1px solid var(--line); margin-top: 2.75rem; padding-top: 2rem; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
nav ol { list-style: none; margin: 0; padding: 0; font-size: .9rem; }
nav ol ol { padding-left: 1rem; font-size: .85rem; }
nav a { display: block; padding: .22rem .6rem; text-decoration: none; border-radius: .25rem; }
nav a:hover { background: var(--card); text-decoration: underline; }
nav.side { display: none; }
nav.top { margin: 1.5rem 0 0; border: 1px solid var(--line); border-radius: .4rem; }
nav.top summary { padding: .6rem .9rem; }
nav.top ol { padding: 0 .4rem .5rem; }
nav.top ol ol { padding: 0 0 0 1rem; }
@media (min-width: 70rem) {
  .paper { max-width: 84rem; padding: 2.5rem 2.5rem 5rem; display: grid; column-gap: 3.5rem;
    grid-template-columns: 13rem minmax(0, 1fr); }
  nav.top { display: none; }
  nav.side { display: block; position: sticky; top: 2.5rem; align-self: start; grid-row: 1 / 9;
    max-height: calc(100vh - 5rem); overflow: auto; border-right: 1px solid var(--line); }
  nav.side .unlisted { margin: 0 .6rem .4rem; font-size: .78rem; letter-spacing: .08em;
    text-transform: uppercase; color: var(--faint); }
  .paper > :not(nav) { grid-column: 2; }
}

.headlines { padding-left: 1.4rem; font-size: 1.12rem; line-height: 1.5; }
.headlines li { margin: .55rem 0; padding-left: .2rem; }
.headlines li::marker { color: var(--accent); font-weight: 600; }

/* Positioned, or what is unseen in them would count as the width of the page. */
.region, .scroll { position: relative; overflow-x: auto; margin: 1rem 0 .5rem; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.4; border-bottom: 1.5px solid;
  border-top: 1.5px solid; font-variant-numeric: tabular-nums lining-nums; }
caption { caption-side: top; text-align: left; padding: 0 0 .5rem; color: var(--faint); }
th, td { padding: .32rem .6rem; text-align: left; vertical-align: top; font-weight: 400; }
thead th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid var(--text); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
.number, .counts td, .counts thead th + th { text-align: right; white-space: nowrap; }
td small, th small { display: block; color: var(--faint); font-size: .78rem; white-space: nowrap; }
tfoot > tr > * { border-top: 1px solid var(--text); font-weight: 600; }
.sheet { margin: 2.5rem 0; }
.sheet table { min-width: 70%; }
.sheet thead th { text-align: center; } .sheet thead .text { text-align: left; }
.sheet th[colspan] { border-bottom: 1px solid var(--line); }
.sheet tbody + tbody { border-top: 1px solid var(--text); }
.sheet .group th { font-style: italic; }
.sheet tbody .rule > * { border-top: 1px solid var(--text); }
.sheet .text { white-space: normal; min-width: 6rem; }
sup { font-size: .72em; line-height: 0; }
.notes { font-size: .82rem; line-height: 1.45; color: var(--faint); padding-left: 1.1rem; }
.counts { width: 100%; max-width: 46rem; }
.counts th, .counts td { padding: .3rem .45rem; }

.badge { white-space: nowrap; font-size: .8rem; font-weight: 600; color: var(--faint); }
.badge i { display: inline-block; min-width: 1.25em; font-style: normal; text-align: center; }
.good { color: var(--good); } .near { color: var(--near); }
.bad { color: var(--bad); } .odd { color: var(--odd); }
.meanings { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; }
.meanings dd { margin: 0; font-size: .94rem; line-height: 1.45; }

.filter { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; padding: .8rem 1rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .4rem; }
.filter label { display: grid; gap: .15rem; font-size: .8rem; color: var(--faint); }
select, button { font: inherit; font-size: .88rem; padding: .38rem .6rem; color: var(--text);
  background: var(--ground); border: 1px solid var(--faint); border-radius: .3rem; }
button { cursor: pointer; }
.filter output { font-size: .85rem; padding: .4rem 0; }
summary { cursor: pointer; color: var(--accent); }
summary h3 { display: inline; font-family: Charter, "Bitstream Charter", Georgia, serif; }
.fold { margin: 1.25rem 0; }
.fold > summary { padding: .4rem 0; color: var(--text); }
.fold > summary small { color: var(--faint); }
.numbers { width: 100%; min-width: 42rem; }
.numbers thead th + th:not(:last-child) { text-align: right; }
.numbers th:first-child { width: 28%; } .numbers td:last-child { width: 30%; }
.numbers .corpus > th { padding-top: 1.4rem; font-weight: 700; font-size: 1rem; }
.numbers .corpus p { font-weight: 400; font-size: .86rem; color: var(--faint); margin: .2rem 0; }
.numbers .behind > td { border-top: 0; padding-top: 0; }
.numbers .behind p { margin: 0 0 .15rem; max-width: 60em; }
.numbers tr:target > *, .numbers tr:target + .behind > *, .finding:target {
  background: var(--card); }
summary.of { font-size: .8rem; }
.more { margin: .4rem 0 .6rem; padding: .5rem .7rem; background: var(--card); font-size: .8rem;
  border-left: 3px solid var(--line); }
.more dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: 0; }
.more dt { color: var(--faint); } .more dd { margin: 0; overflow-wrap: anywhere; }
.more li, .more dd, .corpus p { max-width: none; }
.more ul { margin: .3rem 0 0; padding: 0; list-style: none; }
.more li { border-top: 1px solid var(--line); padding: .4rem 0; }
.caveat { font-weight: 600; margin-top: .5rem; }
code { font: .92em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
.command { display: flex; gap: .5rem; align-items: start; }
.command code { flex: 1; white-space: pre-wrap; overflow-wrap: anywhere; }
.command button { font-size: .72rem; padding: .1rem .4rem; }

.findings { list-style: none; padding: 0; margin: 1rem 0; }
.finding { border-left: 3px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: 1.1rem 0; }
.finding.wrong { border-color: var(--bad); }
.finding h3 { margin: 0 0 .2rem; font-size: 1rem; }
.finding dl { display: grid; grid-template-columns: 4.8rem 1fr; gap: 0 .9rem; margin: .2rem 0;
  font-size: .86rem; }
.finding dt, .facts dt { color: var(--faint); } .finding dd { margin: 0; }
.finding p { margin: .25rem 0; }
.claims { width: 100%; min-width: 50rem; }
.claims .badge, .claims small { white-space: normal; }
.claims .badge { display: grid; grid-template-columns: 1.4em 1fr; }

figure { margin: 2rem 0; }
figure .region { margin: 0; padding: .75rem; background: #ffffff; border: 1px solid var(--line);
  border-radius: .4rem; }
figure svg, figure img { display: block; margin: 0 auto; max-width: 100%; height: auto; }
figcaption { margin-top: .6rem; font-size: .88rem; line-height: 1.45; max-width: 50rem; }
.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; margin: 0;
  font-size: .9rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .meanings, .facts { grid-template-columns: 1fr; gap: 0; }
  .meanings dd, .facts dd { margin-bottom: .6rem; }
  .counts { font-size: .8rem; } .counts th, .counts td { padding: .3rem .2rem; }
  .counts .badge { white-space: normal; font-size: .78rem; display: grid;
    grid-template-columns: 1.4em 1fr; text-align: left; }
  .filter label { flex: 1 1 40%; } select { width: 100%; }
  .numbers { min-width: 0; font-size: .74rem; table-layout: fixed; }
  .numbers th, .numbers td { padding: .3rem .1rem; overflow-wrap: break-word; hyphens: auto; }
  .numbers thead th { font-size: .66rem; }
  .numbers small, .numbers .badge { white-space: normal; font-size: .68rem; }
  .numbers th:last-child, .numbers tr[id] td:last-child { padding-left: .5rem; }
  .numbers thead th:first-child { width: 28%; } .numbers thead th:last-child { width: 24%; }
  .numbers thead th:nth-child(2) { width: 18%; } .numbers thead th:nth-child(4) { width: 13%; }
  .numbers .corpus p { font-size: .78rem; }
  .more { padding: .4rem; } .more dl { grid-template-columns: 1fr; }
  figure .region > * { min-width: 34rem; }  /* below that its letters are too small to read */
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }

@media print {
  :root { color-scheme: light; --ground: #fff; --card: #fff; --line: #999; --text: #000;
    --faint: #000; --accent: #000; --good: #000; --near: #000; --bad: #000; --odd: #000; }
  @page { size: A4; margin: 16mm 14mm; }
  html { font-size: 10pt; }
  .paper { display: block; max-width: none; padding: 0; }
  nav, .skip, .filter, .command button { display: none !important; }
  main > section { break-before: page; border: 0; margin: 0; padding: 0; }
  main > #headlines, main > #verdicts { break-before: auto; margin-top: 1.5rem; }
  h2, h3, summary, caption, .corpus { break-after: avoid; }
  tr, figure, .finding, .sheet table, .meanings > * { break-inside: avoid; }
  thead { display: table-header-group; }
  .region, .scroll { overflow: visible; }
  .numbers, .claims { min-width: 0; font-size: 7pt; }
  .sheet table { font-size: 7.5pt; } td small, .more, .badge { font-size: 6.5pt !important; }
  .numbers th, .numbers td, .sheet th, .sheet td { padding: 1.5pt 3pt; }
  .numbers tr[id], .corpus { break-after: avoid; }
  td small, .number { white-space: normal; }
  .findings { columns: 2; column-gap: 8mm; font-size: 8pt; margin: 4pt 0; }
  .finding { margin: 0 0 6pt; padding-left: 6pt; } .finding h3 { font-size: 8.5pt; }
  .finding dl { font-size: 7.5pt; grid-template-columns: 13mm 1fr; }
  .more { padding: 0 4pt; margin: 1pt 0 2pt; } .more li { padding: 1pt 0; }
  .more dl { grid-template-columns: 17mm 1fr; column-gap: 4pt; }
  .numbers .corpus p { font-size: 7pt; } summary.of { display: none; }
  figure .region { border: 0; padding: 0; } figure .region > * { min-width: 0; }
  figure svg, figure img { max-height: 210mm; }
  a { color: #000; text-decoration: none; }
  /* What is folded on the screen is open on paper, also where no script runs. */
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { list-style: none; }
}
"""

SCRIPT = """
(() => {
  const form = document.getElementById('filter'), told = document.getElementById('shown');
  const rows = [...document.querySelectorAll('#numbers tr[id]')];
  const count = () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value);
    const found = rows.filter(row => {
      const has = {...row.dataset, ...row.parentNode.dataset, ...row.closest('.fold').dataset};
      return wanted.every(([name, value]) => has[name] === value);
    });
    if (wanted.length) found.forEach(row => { row.closest('.fold').open = true; });
    told.textContent = `${found.length} of ${rows.length} numbers`;
  };
  form.addEventListener('input', count);
  form.addEventListener('reset', () => setTimeout(count));
  count();

  addEventListener('hashchange', () => {  // a link to a number that the filter hides
    const row = document.getElementById(location.hash.slice(1));
    if (row?.dataset.verdict) { form.reset(); setTimeout(() => row.scrollIntoView()); }
  });

  const copy = async event => {
    const button = event.target, code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = 'Selected';
    }
  };
  document.addEventListener('toggle', event => {
    for (const line of event.target.querySelectorAll('.command:not(:has(button))')) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = 'Copy';
      button.addEventListener('click', copy);
      line.append(button);
    }
  }, true);

  let folded = [];
  addEventListener('beforeprint', () => {
    folded = [...document.querySelectorAll('details:not([open])')];
    folded.forEach(details => { details.open = true; });
  });
  addEventListener('afterprint', () => folded.forEach(details => { details.open = false; }));
})();
"""
