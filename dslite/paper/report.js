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
