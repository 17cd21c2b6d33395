// Filters the table of scenarios.
const byName = document.getElementById("by-name");
const onlyFailed = document.getElementById("only-failed");
const rows = document.querySelectorAll(".scenarios tbody tr");
function filter() {
  const wanted = byName.value.trim().toLowerCase();
  for (const row of rows) {
    row.hidden = !row.dataset.name.toLowerCase().includes(wanted)
      || onlyFailed.checked && row.classList.contains("all-passed");
  }
}
byName.addEventListener("input", filter);
onlyFailed.addEventListener("input", filter);
