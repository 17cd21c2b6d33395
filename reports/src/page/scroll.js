// A list of any length of which only the rows in sight exist.

class ScrollList {
  constructor(box, rowHeight, fill) {
    this.box = box;
    this.rowHeight = rowHeight;
    this.fill = fill;
    this.length = 0;
    this.inner = element("div");
    box.replaceChildren(this.inner);
    box.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(box);
  }

  reset(length) {
    this.length = length;
    // Rows that still stand far below would hold the scroll position there.
    this.inner.replaceChildren();
    this.box.style.height = `${Math.min(Math.max(length, 4) * this.rowHeight + 2, 460)}px`;
    // Browsers cut elements that are much taller.
    this.inner.style.height = `${Math.min(length * this.rowHeight, 15e6)}px`;
    this.draw();
  }

  draw() {
    const top = this.box.scrollTop;
    const first = Math.max(Math.floor(top / this.rowHeight) - 5, 0);
    const shown = Math.ceil(this.box.clientHeight / this.rowHeight) + 10;
    const rows = [];
    for (let at = first; at < Math.min(first + shown, this.length); at++) {
      const row = element("div", "row");
      row.style.top = `${at * this.rowHeight}px`;
      this.fill(row, at);
      rows.push(row);
    }
    this.inner.replaceChildren(...rows);
  }

  reveal(at) {
    const top = at * this.rowHeight;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top + this.rowHeight > scrollTop + clientHeight) {
      this.box.scrollTop = Math.max(top - clientHeight / 2, 0);
    }
    this.draw();
  }
}
