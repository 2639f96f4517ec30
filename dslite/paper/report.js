(() => {
  const form = document.getElementById('filter');
  const rows = [...document.querySelectorAll('#numbers tr[id]')];
  const open = element => {
    for (; element; element = element.parentElement) if (element.matches('details')) element.open = true;
  };
  const show = () => {
    const wanted = [...new FormData(form)].filter(([, value]) => value);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.every(([name, value]) => row.dataset[name] === value);
      shown += !row.hidden;
      if (wanted.length && !row.hidden) open(row.closest('.corpus'));
    }
    for (const part of document.querySelectorAll('#numbers .corpus, #numbers > details')) {
      part.hidden = !part.querySelector('tr[id]:not([hidden])');
    }
    const names = [...form.querySelectorAll('select')].filter(select => select.value)
      .map(select => select.selectedOptions[0].text);
    form.querySelector('output').textContent =
      shown ? `${shown} of ${rows.length} numbers` : `no number with: ${names.join(', ')}`;
  };
  form.hidden = false;
  form.addEventListener('input', show);
  form.addEventListener('reset', () => setTimeout(show));
  show();

  const follow = () => {  // a link to what is folded or filtered away
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (row?.closest('#numbers tr')?.hidden) form.reset();
    if (row) { open(row); setTimeout(() => row.scrollIntoView()); }
  };
  addEventListener('hashchange', follow);
  if (location.hash) follow();
})();
