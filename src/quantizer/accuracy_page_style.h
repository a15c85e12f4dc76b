// Style and script of the accuracy page: constants, so that the page is one file that needs no other.
#pragma once

#include <string_view>

namespace hai::quantizer {

// Colours are variables; a dark scheme only changes them. Pictures take the same variables.
inline constexpr std::string_view kPageStyle = R"css(
:root { --page:#f6f7f9; --card:#ffffff; --ink:#1b2430; --soft:#5d6b7c; --line:#dfe4ea; --float:#9db4cf; --quantized:#d9480f;
  --good:#2b8a3e; --bad:#c92a2a; --accent:#1c6dd0; --shade:#eef3f9; --wide:#7048e8; }
@media (prefers-color-scheme: dark) {
  :root { --page:#12161c; --card:#1b222b; --ink:#e4e9ef; --soft:#94a3b4; --line:#303b48; --float:#4b6a8e; --quantized:#ff922b;
    --good:#69db7c; --bad:#ff8787; --accent:#74b0ff; --shade:#222c38; --wide:#b197fc; } }
* { box-sizing:border-box }
body { margin:0; background:var(--page); color:var(--ink); font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif }
main { max-width:1400px; margin:0 auto; padding:28px 20px 60px }
h1 { font-size:26px; margin:0 0 2px } h2 { font-size:18px; margin:34px 0 8px }
p { margin:6px 0 } .soft { color:var(--soft) } code { font:13px ui-monospace,Menlo,Consolas,monospace }
.cards { display:flex; flex-wrap:wrap; gap:12px; margin:16px 0 }
.card { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px 16px }
.figure { min-width:128px } .figure b { display:block; font-size:22px; font-weight:600; font-variant-numeric:tabular-nums }
.figure span { color:var(--soft); font-size:13px }
.next { border-left:4px solid var(--accent); background:var(--card); border-radius:6px; padding:10px 16px; margin:14px 0 }
.next ul { margin:4px 0; padding-left:20px }
.scroll { overflow-x:auto; background:var(--card); border:1px solid var(--line); border-radius:10px }
table { border-collapse:collapse; width:100%; font-size:13px }
th,td { padding:4px 8px; text-align:right; white-space:nowrap; border-bottom:1px solid var(--line);
  font-variant-numeric:tabular-nums }
th { color:var(--soft); font-weight:600; cursor:pointer; user-select:none; background:var(--card); position:sticky; top:0 }
th.plain { cursor:default } th:hover { color:var(--ink) } th[data-order]::after { content:" \25B4"; color:var(--accent) }
th[data-order="down"]::after { content:" \25BE" }
td.name { max-width:230px; overflow:hidden; text-overflow:ellipsis } .left { text-align:left }
tr:last-child td { border-bottom:none } tbody tr:hover { background:var(--shade) }
.tag { display:inline-block; padding:0 7px; border-radius:9px; background:var(--shade); color:var(--soft); font-size:12px }
.tag.b4 { color:var(--quantized) } .tag.b16,.tag.b32 { color:var(--wide) }
.gain { color:var(--good); font-weight:600 }
svg { display:block } svg text { fill:var(--soft); font-size:11px; font-family:inherit }
.axis { stroke:var(--line); fill:none } .area { fill:var(--float); stroke:none } .line { fill:none; stroke:var(--quantized);
  vector-effect:non-scaling-stroke; stroke-width:1.4 }
.accumulated { fill:none; stroke:var(--accent); stroke-width:2 } .isolated { fill:var(--quantized) }
.dot { fill:var(--accent) } .chosen { fill:var(--good) } .whisker { stroke:var(--soft) } .goal { stroke:var(--bad); stroke-dasharray:5 4 }
.key { display:inline-flex; gap:6px; align-items:center; margin-right:16px; color:var(--soft); font-size:13px }
.key i { width:14px; height:10px; border-radius:2px; display:inline-block }
.grid { display:grid; grid-template-columns:repeat(auto-fill,minmax(330px,1fr)); gap:12px }
.grid .card b { display:block; overflow:hidden; text-overflow:ellipsis; white-space:nowrap }
.ends { display:flex; justify-content:space-between; color:var(--soft); font-size:12px; font-variant-numeric:tabular-nums }
pre { background:var(--card); border:1px solid var(--line); border-radius:10px; padding:12px 16px; overflow-x:auto; font-size:13px }
details summary { cursor:pointer; color:var(--soft); margin:8px 0 }
)css";

// Sorts the table by the column whose head is clicked; cells carry their number in data-value, empty ones go last.
inline constexpr std::string_view kPageScript = R"js(
document.querySelectorAll('th[data-column]').forEach(function (head) {
  head.addEventListener('click', function () {
    var table = head.closest('table'), body = table.tBodies[0], column = +head.dataset.column;
    var down = head.dataset.order === 'up';
    table.querySelectorAll('th').forEach(function (other) { delete other.dataset.order; });
    head.dataset.order = down ? 'down' : 'up';
    var rows = Array.prototype.slice.call(body.rows);
    rows.sort(function (a, b) {
      var x = a.cells[column].dataset.value, y = b.cells[column].dataset.value;
      if (x === '' || y === '') return x === y ? 0 : x === '' ? 1 : -1;
      var order = head.dataset.kind === 'text' ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  });
});
)js";

}  // namespace hai::quantizer
