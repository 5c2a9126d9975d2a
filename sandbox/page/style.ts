export const style = `
:root { color-scheme: light dark;
  --ground: #f3f1ec; --panel: #ffffff; --ink: #1d2226; --soft: #69727a; --line: #e2dfd8; --accent: #1f7a5c;
  --out: #d9f5d0; --in: #ffffff; --screen: #ebe5dc; --good: #1b7f4b; --bad: #c0392b; --wait: #b26a00; --fault: #7b3fb5; --shade: 0 1px 2px rgb(0 0 0 / .06), 0 8px 24px rgb(0 0 0 / .06) }
@media (prefers-color-scheme: dark) { :root {
  --ground: #101416; --panel: #191f22; --ink: #e8ebec; --soft: #93a0a7; --line: #2a3236; --accent: #4fc298;
  --out: #0d4f3d; --in: #262e32; --screen: #12181a; --good: #56c98a; --bad: #f0776a; --wait: #e8a94a; --fault: #c79bf2; --shade: 0 1px 2px rgb(0 0 0 / .4) } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 14px/1.45 system-ui, -apple-system, 'Segoe UI', sans-serif }
h1, h2, h4, p, ul, ol { margin: 0; padding: 0 }
code, pre { font: 12px/1.5 ui-monospace, 'SF Mono', Menlo, monospace }
small, .quiet { color: var(--soft) }
.top { display: flex; gap: 24px; align-items: center; justify-content: space-between; flex-wrap: wrap; padding: 16px 28px; background: var(--panel); border-bottom: 1px solid var(--line); position: sticky; top: 0; z-index: 2 }
.top h1 { font-size: 18px; letter-spacing: -.01em; display: flex; gap: 10px; align-items: center }
.top h1 small { font-weight: 400; font-size: 13px }
.logo { display: grid; place-items: center; width: 30px; height: 30px; border-radius: 9px; background: var(--accent); color: var(--panel); font-size: 20px }
.top ul { display: flex; gap: 18px; list-style: none; color: var(--soft); font-size: 13px }
.top li b { color: var(--ink); font-size: 16px; font-variant-numeric: tabular-nums }
.top li.good b { color: var(--good) } .top li.wait b { color: var(--wait) } .top li.bad b { color: var(--bad) }
main { display: grid; grid-template-columns: minmax(0, 1fr) 380px; gap: 24px; padding: 24px 28px; align-items: start; max-width: 1680px; margin: auto }
@media (max-width: 980px) { main { grid-template-columns: minmax(0, 1fr) } .top h1 small { display: none } }
.wall { columns: 340px; column-gap: 20px }
.wall > * { break-inside: avoid; margin-bottom: 20px }
.card { display: flex; flex-direction: column; background: var(--panel); border: 1px solid var(--line); border-radius: 22px; overflow: hidden; box-shadow: var(--shade) }
.card.mail { border-radius: 12px }
.card > header { display: flex; align-items: center; gap: 10px; padding: 12px 14px; border-bottom: 1px solid var(--line) }
.card > header div { flex: 1; min-width: 0; display: grid; line-height: 1.25 }
.card > header strong, .card > header small { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.avatar { flex: none; display: grid; place-items: center; width: 34px; height: 34px; border-radius: 50%; color: #fff; font-size: 12px; font-weight: 600; background: var(--brand) }
.twilio { --brand: #e0344a } .meta { --brand: #1fa855 } .sendgrid { --brand: #1a82e2 } .resend { --brand: #555d66 } .stripe { --brand: #635bff } .mercadopago { --brand: #009ee3 } .transbank { --brand: #a1247f }
.badge { flex: none; padding: 2px 9px; border-radius: 99px; font-size: 11px; font-weight: 600; color: var(--brand); border: 1px solid currentColor }
.resend .badge, em.resend { color: var(--ink) }
.screen { display: flex; flex-direction: column; gap: 4px; padding: 14px 12px; background: var(--screen); max-height: 540px; overflow: auto }
.sms .screen { background: var(--panel) }
.mail .screen { background: var(--panel); max-height: none; gap: 8px }
.hidden, .more { text-align: center; color: var(--soft); font-size: 12px }
.bubble { max-width: 86%; padding: 7px 10px 5px; border-radius: 14px; box-shadow: 0 1px 1px rgb(0 0 0 / .08); overflow-wrap: anywhere }
.bubble p, .letter p { white-space: pre-wrap }
.bubble.out { align-self: flex-end; background: var(--out); border-bottom-right-radius: 4px }
.bubble.in { align-self: flex-start; background: var(--in); border-bottom-left-radius: 4px }
.sms .bubble.out { background: #2f7cf6; color: #fff }
.sms .bubble.out .stamp, .sms .bubble.out .tick { color: #dbe8ff }
.stamp { display: block; text-align: right; font-size: 11px; color: var(--soft); font-variant-numeric: tabular-nums }
.tick { font-weight: 600; letter-spacing: -2px; margin-left: 4px } .tick.read { color: #2aa5e8 } .tick.bad { color: var(--bad); letter-spacing: 0 } .tick.wait { color: var(--wait); letter-spacing: 0; font-weight: 400 }
.media { display: block; padding: 14px; margin-bottom: 4px; border-radius: 8px; background: rgb(127 127 127 / .18); text-align: center; font-size: 12px }
.story { display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 0 2px 8px; font-size: 11px } .story.out { justify-content: flex-end }
.story code { font-size: 10.5px; color: var(--soft) }
.mail .story { justify-content: flex-start; margin-bottom: 2px }
.pill { padding: 0 7px; border-radius: 99px; border: 1px solid var(--line); background: var(--panel); color: var(--soft); font-size: 11px; white-space: nowrap } .pill.good b { color: var(--good) } .pill.bad, .pill.bad b { color: var(--bad) } .pill.wait b { color: var(--wait) } .pill.fault { color: var(--fault); border-color: currentColor }
.letter { border: 1px solid var(--line); border-left: 3px solid var(--brand); border-radius: 8px; padding: 10px 12px; overflow-wrap: anywhere }
.letter.in { border-left-color: var(--soft) }
.letter h4 { font-size: 14px } .letter p { margin-top: 6px } .letter small { font-size: 12px }
iframe { display: block; width: 100%; height: 190px; margin-top: 8px; border: 0; border-radius: 6px; background: #fff }
.card > footer { border-top: 1px solid var(--line) } .card > footer button { width: 100%; padding: 9px; border: 0; background: none; color: var(--accent); font: inherit; font-size: 13px; cursor: pointer } .card > footer button:hover { background: var(--ground) }
.welcome { column-span: all; padding: 48px; text-align: center; background: var(--panel); border: 1px dashed var(--line); border-radius: 18px } .welcome p { max-width: 560px; margin: 8px auto 18px; color: var(--soft) } .welcome pre { display: inline-block; margin: 0; padding: 14px 18px; text-align: left; background: var(--ground); border-radius: 10px; max-width: 100%; overflow: auto }
aside { display: grid; gap: 20px; min-width: 0 }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 14px; padding: 16px; box-shadow: var(--shade); min-width: 0 } .panel h2 { font-size: 14px; margin-bottom: 8px } summary { cursor: pointer; list-style-position: inside } summary h2 { display: inline } details .quiet { margin: 6px 0 8px; font-size: 12px }
form { display: grid; gap: 8px } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 8px } label { display: grid; gap: 3px; font-size: 12px; color: var(--soft); min-width: 0 } .subject { display: none } .mail .subject { display: grid }
input, select, textarea { width: 100%; padding: 7px 9px; border: 1px solid var(--line); border-radius: 8px; background: var(--ground); color: var(--ink); font: inherit; resize: vertical }
form > button { padding: 9px; border: 0; border-radius: 9px; background: var(--accent); color: var(--panel); font: inherit; font-weight: 600; cursor: pointer } output { font-size: 12px; color: var(--soft); min-height: 1.4em; overflow-wrap: anywhere }
.log { list-style: none; display: grid; gap: 6px; font-size: 12px } .log li { display: flex; gap: 8px; align-items: center; overflow: hidden } time { color: var(--soft); font-variant-numeric: tabular-nums } em { font-style: normal; font-weight: 600; color: var(--brand); min-width: 58px }
.pages, .books { list-style: none; display: grid; gap: 6px; font-size: 12px } .pages + .books:not(:empty) { margin-top: 12px } .pages li { min-width: 0 }
.pages a { display: flex; gap: 8px; align-items: center; padding: 6px 10px; border: 1px solid var(--line); border-radius: 9px; background: var(--ground); color: inherit; text-decoration: none } .pages a:hover { border-color: var(--accent) } .pages span { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } .pages i { font-style: normal; font-weight: 600; color: var(--accent); white-space: nowrap }
.books li { display: flex; flex-wrap: wrap; gap: 2px 8px; align-items: center } .books small { width: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap } .pages b, .books b { font-variant-numeric: tabular-nums; white-space: nowrap }
table { width: 100%; border-collapse: collapse; font-size: 12px } td { padding: 6px 8px 6px 0; border-top: 1px solid var(--line); vertical-align: top; color: var(--soft); overflow-wrap: anywhere } td b { color: var(--ink) } td code { color: var(--ink); white-space: nowrap } td i { font-style: normal; font-size: 10px; padding: 0 6px; border: 1px solid var(--line); border-radius: 99px }
`
