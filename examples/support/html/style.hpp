// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace support::html {

/// The page's style: system fonts, light and dark as the reader's system is, paper. Text has a contrast of at least 4.5 to what it
/// stands on (tests/program/report_test.py).
inline constexpr const char* style = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --ink: #1b1d21; --soft: #585f69; --line: #dddfdb; --link: #1f5fa8;
  --good: #17703d; --note: #1f5fa8; --warning: #855400; --bad: #b3261e;
  --c1: #1f5fa8; --c2: #b4531a; --c3: #1d7a4c; --c4: #7a4fa3; --c5: #6b717a;
}
@media (prefers-color-scheme: dark) { :root {
  --page: #131518; --card: #1c1f24; --ink: #e7e8ea; --soft: #a7adb7; --line: #343941; --link: #8ab8f5;
  --good: #7bd3a0; --note: #8ab8f5; --warning: #efc15c; --bad: #ff9e94;
  --c1: #8ab8f5; --c2: #f2a56f; --c3: #7bd3a0; --c4: #c9a9ee; --c5: #a7adb7;
} }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 1rem; letter-spacing: -0.005em; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.6rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.lead { font-size: 1.1rem; color: var(--soft); margin: 0.6rem 0 0; }
.kind { color: var(--soft); margin: 0 0 0.3rem; font-size: 0.9rem; }
.pill { display: inline-block; border: 1.5px solid currentColor; border-radius: 1rem; padding: 0 0.7rem; font-size: 0.85rem;
  font-weight: 600; vertical-align: 0.35rem; margin-left: 0.6rem; letter-spacing: 0; white-space: nowrap; }
nav { margin: 1.2rem 0 0; border-bottom: 1px solid var(--line); padding-bottom: 0.9rem; }
nav a { margin-right: 1.2rem; }
a { color: var(--link); text-underline-offset: 0.15em; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
.one-chart { max-width: 30rem; margin-top: 1rem; }
.columns { display: grid; gap: 1rem 2rem; grid-template-columns: repeat(2, minmax(0, 1fr)); }
.card, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 1rem 1.1rem; margin: 0; }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); margin: 1.5rem 0 0; }
.tile { padding: 0.8rem 1.1rem; }
.tile b { display: block; font-size: 1.5rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 0.85rem; line-height: 1.35; display: block; }
.verdicts { list-style: none; padding: 0.3rem 1.1rem; }
.verdicts li { display: grid; grid-template-columns: 6rem 1fr; gap: 0 0.8rem; padding: 0.6rem 0; border-top: 1px solid var(--line); }
.verdicts li:first-child { border-top: 0; }
.verdicts .light { font-weight: 600; font-size: 0.9rem; white-space: nowrap; line-height: 1.65; }
.verdicts .light svg { width: 0.85rem; height: 0.85rem; margin-right: 0.4rem; vertical-align: -0.08rem; fill: currentColor; }
.verdicts b { font-weight: 600; }
.verdicts p { margin: 0.1rem 0 0; color: var(--soft); }
.good { color: var(--good); } .note { color: var(--note); } .warning { color: var(--warning); } .bad { color: var(--bad); }
figure figcaption { display: flex; justify-content: space-between; gap: 1rem; font-weight: 600; margin-bottom: 0.5rem; }
figure figcaption output { font-variant-numeric: tabular-nums; white-space: nowrap; }
figure p, .small { color: var(--soft); font-size: 0.88rem; line-height: 1.45; }
.picture { margin: 0 0 1rem; }
.picture img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 0.25rem; background: #fff; }
.small-picture img { max-width: 16rem; }
.strip { display: grid; grid-template-columns: 3.6rem 1fr; gap: 0.4rem 0.8rem; align-items: center; margin: 0; }
.strip img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: 0.2rem; background: #fff; }
.strip dt { color: var(--soft); font-size: 0.88rem; font-variant-numeric: tabular-nums; } .strip dd { margin: 0; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
figure > svg { display: block; width: 100%; height: auto; }
.grid > figure { min-width: 0; } .grid > figure:only-child { max-width: 36rem; }
line.grid { stroke: var(--line); stroke-width: 1; } .axis { stroke: var(--soft); stroke-width: 1; }
.target { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 5 4; }
path[class^=line] { fill: none; stroke-width: 2; stroke-linejoin: round; }
path[class^=cloud] { fill: none; stroke-width: 3; stroke-linecap: round; stroke-opacity: 0.45; }
.line1, .cloud1 { stroke: var(--c1); } .line2, .cloud2 { stroke: var(--c2); } .line3, .cloud3 { stroke: var(--c3); }
.line4, .cloud4 { stroke: var(--c4); } .line5, .cloud5 { stroke: var(--c5); }
.dot1, .area1 { fill: var(--c1); } .dot2, .area2 { fill: var(--c2); } .dot3, .area3 { fill: var(--c3); }
.dot4, .area4 { fill: var(--c4); } .dot5, .area5 { fill: var(--c5); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; padding: 0; margin: 0.4rem 0 0; font-size: 0.85rem;
  color: var(--soft); }
.legend span { display: inline-block; width: 0.8rem; height: 0.8rem; border-radius: 0.2rem; margin-right: 0.4rem; vertical-align: -0.08rem; }
.key1 { background: var(--c1); } .key2 { background: var(--c2); } .key3 { background: var(--c3); } .key4 { background: var(--c4); }
path.second { stroke-dasharray: 6 4; }
.legend .second { background-image: repeating-linear-gradient(90deg, transparent 0 0.2rem, var(--card) 0.2rem 0.35rem); }
.key5 { background: var(--c5); } .legend .key-target { height: 0; border-top: 2px dashed var(--soft); border-radius: 0; vertical-align: 0.2rem; }
.scroll { overflow-x: auto; margin-bottom: 1rem; } .grid + .scroll { margin-top: 1.4rem; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; min-width: min(100%, 28rem); }
caption { text-align: left; font-weight: 600; padding: 0.3rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 1.4rem 0.3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { color: var(--soft); font-weight: 600; font-size: 0.85rem; white-space: nowrap; }
tbody th { font-weight: 400; }
td { min-width: 5rem; }
details { margin: 0.8rem 0; } summary { cursor: pointer; color: var(--link); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 0.6rem; padding: 0.8rem 1rem; overflow-x: auto;
  font: 0.88rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-bottom: 2.5rem; color: var(--soft); font-size: 0.88rem; }
@media (max-width: 40rem) { .columns { grid-template-columns: 1fr; } .verdicts li { grid-template-columns: 1fr; } h1 { font-size: 1.6rem; } }
@media print {
  :root { --page: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #bbb; --link: #000; --good: #17703d; --note: #1f5fa8;
    --warning: #855400; --bad: #b3261e; --c1: #1f5fa8; --c2: #b4531a; --c3: #1d7a4c; --c4: #7a4fa3; --c5: #6b717a; color-scheme: light; }
  body { font-size: 10pt; } nav { display: none; } main, header, footer { padding: 0; max-width: none; }
  .card, .tile, .picture, .verdicts li, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; height: auto; opacity: 1; }
}
)css";

}  // namespace support::html
