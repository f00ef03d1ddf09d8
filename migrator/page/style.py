"""How the page looks, and the little that it does: no file of others, no request."""

from __future__ import annotations

CSS = """
:root{color-scheme:light dark;--back:#fff;--text:#1c2024;--soft:#5b6570;--line:#d5dae0;
--card:#f5f7f9;--good:#1a7f37;--waiting:#855800;--bad:#cf222e;--plain:#57606a;--link:#0550ae;
--bad-back:#ffebe9;--good-back:#dafbe1;--waiting-back:#fff4d2}
@media (prefers-color-scheme:dark){:root{--back:#12161b;--text:#e6eaee;--soft:#9aa5b1;
--line:#323a43;--card:#1b2128;--good:#4ac26b;--waiting:#e0ad38;--bad:#ff7b72;--plain:#9aa5b1;
--link:#79b8ff;--bad-back:#3b1719;--good-back:#122b1a;--waiting-back:#33280c}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--back);color:var(--text);
font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
code{unicode-bidi:isolate}pre b{color:var(--bad)}
h1{font-size:1.4rem;margin:.2rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
h3{display:inline;font-size:1rem;margin:0}
p{margin:.4rem 0}a{color:var(--link)}code{font:.9em ui-monospace,monospace}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}h2:focus-visible{outline:none}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;background:var(--back);padding:.5rem}
.facts{color:var(--soft);margin:0}nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;
list-style:none;padding:0;margin:.8rem 0}
.card{background:var(--card);border:1px solid var(--line);border-left:6px solid var(--plain);
border-radius:6px;padding:.6rem 1rem;margin:.6rem 0}
.card.bad{border-left-color:var(--bad);background:var(--bad-back)}
.card.good{border-left-color:var(--good);background:var(--good-back)}
.card.waiting{border-left-color:var(--waiting);background:var(--waiting-back)}
.card h3{display:block}
.badge{display:inline-block;border:1px solid;border-radius:1em;padding:0 .6em;font-size:.85em;
white-space:nowrap;color:var(--plain)}
.badge.good{color:var(--good)}.badge.waiting{color:var(--waiting)}.badge.bad{color:var(--bad)}
.badge.good::before{content:"\\2713\\a0"}.badge.bad::before{content:"\\2715\\a0"}
.badge.waiting::before{content:"\\2022\\a0"}
.copy{display:inline-flex;max-width:100%;align-items:baseline;gap:.4rem;background:var(--back);
border:1px solid var(--line);border-radius:5px;padding:.05rem .1rem .05rem .5rem;margin:.1rem 0}
.copy code{white-space:pre-wrap}
button{font:inherit;font-size:.8em;border:1px solid var(--line);border-radius:4px;cursor:pointer;
flex:none;white-space:nowrap;background:var(--card);color:var(--text);padding:.1rem .5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem;margin:.4rem 0}
dt{color:var(--soft)}dd{margin:0;min-width:0}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92em}
caption{text-align:left;color:var(--soft);padding:.2rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .6rem .25rem 0;
border-bottom:1px solid var(--line);font-weight:400}
thead th{color:var(--soft)}.log td,.log th{overflow-wrap:normal;white-space:nowrap}
.log td:last-child{white-space:normal;min-width:16rem}
details{border:1px solid var(--line);border-radius:6px;margin:.4rem 0;padding:.3rem .8rem}
details.run{border-width:0 0 0 3px;border-radius:0;margin:.3rem 0}
summary{cursor:pointer;padding:.2rem 0}
pre{white-space:pre-wrap;font:.85em/1.6 ui-monospace,monospace;margin:.3rem 0}
svg{display:block;max-width:100%}svg text{font:12px system-ui,sans-serif}
svg .good{fill:var(--good)}svg .bad{fill:var(--bad)}svg .waiting{fill:var(--waiting)}
svg .plain{fill:var(--plain)}svg .hit{fill:transparent}.hour{stroke:var(--line)}
.bar{width:9rem;height:10px;margin-top:.45rem;background:var(--line)}
.days,.hours{width:100%;height:6rem}.hours{height:2rem}
.scale{display:flex;justify-content:space-between;gap:1rem;color:var(--soft);margin:0;
font-size:.8em}.hourly{display:grid;grid-template-columns:repeat(6,1fr);gap:0}
svg.graph{max-width:none}.graph rect{fill:var(--card);stroke:currentColor;stroke-width:2}
.graph .good{color:var(--good)}.graph .bad{color:var(--bad)}.graph .waiting{color:var(--waiting)}
.graph .plain{color:var(--plain)}.graph text{fill:var(--text)}.graph .state{fill:currentColor}
.graph .arrow{fill:none;stroke:var(--soft);stroke-width:1.5;marker-end:url(#tip)}
.graph marker path{fill:var(--soft)}
@media (max-width:40rem){dl{grid-template-columns:1fr}dt{margin-top:.3rem}
table,tbody,tr,th,td,caption{display:block}thead{position:absolute;left:-99rem}
tr{border-bottom:1px solid var(--line);padding:.4rem 0}th,td{border:0;padding:.05rem 0}
td:empty{display:none}.log td,.log th,.log td:last-child{white-space:normal;min-width:0}
.hourly span:nth-child(2n){visibility:hidden}
td[data-head]::before{content:attr(data-head) ": ";color:var(--soft)}.bar{display:inline-block}}
@media print{:root{color-scheme:light;--back:#fff;--text:#000;--card:#fff;--bad-back:#fff;
--good-back:#fff;--waiting-back:#fff}button,nav,.skip{display:none}body{max-width:none;padding:0;
font-size:11px}h3{font-size:12px}.wide{overflow:visible}.card,tr,svg{break-inside:avoid}
.log td,.log th,.log td:last-child{white-space:normal;overflow-wrap:anywhere;min-width:3rem}
.badge{white-space:normal}svg.graph{max-width:100%;height:auto}.bar{width:5rem}
h2{break-after:avoid}}
"""
#: Copies, opens what a link leads to, and opens all of the newest runs for paper.
SCRIPT = """
document.addEventListener("click",function(event){
  var button=event.target.closest(".copy button");
  if(!button)return;
  var code=button.previousElementSibling,done=function(){button.textContent="Copied";
    setTimeout(function(){button.textContent="Copy"},1500)};
  var mark=function(){var range=document.createRange();range.selectNodeContents(code);
    var chosen=getSelection();chosen.removeAllRanges();chosen.addRange(range)};
  if(navigator.clipboard)navigator.clipboard.writeText(code.textContent).then(done,mark);
  else mark();
});
function reveal(){
  var found=location.hash.length>1&&document.getElementById(location.hash.slice(1));
  for(var at=found;at;at=at.parentElement)if(at.tagName==="DETAILS")at.open=true;
  if(found)found.scrollIntoView();
}
addEventListener("hashchange",reveal);reveal();
addEventListener("beforeprint",function(){
  document.querySelectorAll("details.paper").forEach(function(at){at.open=true});
});
"""
