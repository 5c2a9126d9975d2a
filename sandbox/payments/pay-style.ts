export const payStyle = `
:root { color-scheme: light dark;
  --ground: #f4f5f8; --panel: #fff; --ink: #16181d; --soft: #5a6270; --line: #dfe2e8; --good: #14713f; --bad: #b3261e; --field: #fff; --shade: 0 1px 2px rgb(20 24 40 / .06), 0 18px 48px rgb(20 24 40 / .1) }
.stripe { --brand: #5a50f0; --deep: #0a2540; --glow: #7a73ff; --mark: #5148e0 }
.mercadopago { --brand: #0070b0; --deep: #00355c; --glow: #009ee3; --mark: #00609a }
.transbank { --brand: #7a1f8a; --deep: #3d1152; --glow: #d5006c; --mark: #7a1f8a }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0e1014; --panel: #171a20; --ink: #eceef2; --soft: #9aa3b2; --line: #2b303a; --good: #57c98b; --bad: #f28b82; --field: #1e222a; --shade: 0 1px 2px rgb(0 0 0 / .5) }
  .stripe { --mark: #a5a0ff } .mercadopago { --mark: #5cc3f5 } .transbank { --mark: #d99be6 } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif }
h1, h2, p, ul, dl, dd, fieldset { margin: 0; padding: 0 }
code { font: 13px/1.5 ui-monospace, 'SF Mono', Menlo, monospace; overflow-wrap: anywhere }
header, footer { display: flex; gap: 12px; align-items: center; justify-content: space-between; flex-wrap: wrap; width: 100%; max-width: 1000px; margin: 0 auto; padding: 20px 24px }
footer { margin-top: auto; justify-content: center; color: var(--soft); font-size: 13px }
.wordmark { font-size: 24px; font-weight: 800; letter-spacing: -.04em; color: var(--mark) }
.simulated { padding: 3px 12px; border: 1px solid var(--line); border-radius: 99px; color: var(--soft); font-size: 13px; background: var(--panel) }
main { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); width: calc(100% - 48px); max-width: 952px; margin: 12px auto 24px }
main.step { display: block; max-width: 460px; margin-top: 12vh } main.step .desk { border-radius: 20px }
.order { border-radius: 20px 0 0 20px; padding: 36px; color: #fff; background: radial-gradient(120% 90% at 100% 0, var(--glow), transparent 62%), linear-gradient(160deg, var(--brand), var(--deep)) }
.merchant { font-weight: 600; overflow-wrap: anywhere }
h1 { margin-top: 20px; font-size: 42px; line-height: 1.15; letter-spacing: -.03em; font-variant-numeric: tabular-nums; overflow-wrap: anywhere }
h1 small { display: block; font-size: 15px; font-weight: 400; letter-spacing: 0; margin-bottom: 4px }
h1 i { font-style: normal; font-size: 15px; font-weight: 500; letter-spacing: .04em; opacity: .85 }
.terms { margin-top: 4px }
.lines { list-style: none; margin-top: 24px; border-top: 1px solid rgb(255 255 255 / .3) }
.lines li { display: flex; gap: 16px; justify-content: space-between; padding: 10px 0; border-bottom: 1px solid rgb(255 255 255 / .18); font-size: 15px }
.lines b { font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap }
.order dl { margin-top: 28px; display: grid; gap: 10px; font-size: 13px } .order dt { opacity: .85 }
.desk { display: grid; align-content: center; padding: 36px; min-width: 0; background: var(--panel); border-radius: 0 20px 20px 0; box-shadow: var(--shade) }
.notice { margin-bottom: 20px; padding: 12px 16px; border-left: 4px solid var(--mark); border-radius: 8px; background: var(--ground) }
fieldset { border: 0; min-width: 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 8px } legend, .field { padding: 0; font-size: 14px; font-weight: 600 } legend { margin-bottom: 8px }
.cards label { display: flex; gap: 12px; align-items: center; padding: 8px 12px; border: 1px solid var(--line); border-radius: 10px; background: var(--field); cursor: pointer }
.cards label:has(:checked) { border-color: var(--mark); box-shadow: inset 0 0 0 1px var(--mark) }
.cards label > span { display: grid; font-size: 14px; line-height: 1.35; font-variant-numeric: tabular-nums } .cards b { font-weight: 600 } .cards small { color: var(--soft); font-size: 13px }
input { accent-color: var(--mark); width: 17px; height: 17px; margin: 0; flex: none }
.field { display: grid; gap: 6px; margin-top: 16px }
select { width: 100%; min-height: 44px; padding: 8px 36px 8px 12px; border: 1px solid var(--line); border-radius: 10px; color: var(--ink); font: inherit; font-weight: 400; appearance: none; background: var(--field) url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='12' height='8'%3E%3Cpath d='M1 1.5l5 5 5-5' fill='none' stroke='%238a92a0' stroke-width='1.8'/%3E%3C/svg%3E") right 14px center no-repeat }
button { font: inherit; cursor: pointer }
:is(button, select, input, label):focus-visible, .cards label:has(:focus-visible) { outline: 3px solid color-mix(in srgb, var(--mark) 55%, transparent); outline-offset: 2px }
.main { width: 100%; min-height: 52px; margin-top: 20px; padding: 10px 18px; border: 0; border-radius: 12px; background: var(--brand); color: #fff; font-size: 17px; font-weight: 600; box-shadow: 0 6px 18px color-mix(in srgb, var(--brand) 32%, transparent) } .main:hover { filter: brightness(1.08) } .main.bad { background: var(--bad) }
.hint { margin-top: 8px; color: var(--soft); font-size: 13px; text-align: center }
.others { grid-column: 1 / -1; margin-top: 28px } .others h2 { display: flex; gap: 16px; align-items: center; margin-bottom: 14px; color: var(--soft); font-size: 14px; font-weight: 500 } .others h2::before, .others h2::after { content: ''; flex: 1; height: 1px; background: var(--line) }
.others ul { list-style: none; columns: 2; column-gap: 10px }
.others li { break-inside: avoid; margin-bottom: 10px; border: 1px solid var(--line); border-radius: 12px; overflow: hidden; background: var(--panel) }
.others button { display: grid; grid-template-columns: 1fr auto; gap: 1px 12px; width: 100%; min-height: 44px; padding: 10px 16px; border: 0; background: none; color: inherit; text-align: left } .others button:hover b { text-decoration: underline; text-underline-offset: 3px }
.others b { font-size: 15px; font-weight: 600 } .others .bad b { color: var(--bad) } .others .good b { color: var(--good) }
.others code { color: var(--soft); align-self: center } .others span { grid-column: 1 / -1; color: var(--soft); font-size: 13px }
.others .field { margin: 0; padding: 0 16px 14px; font-size: 13px; font-weight: 500; color: var(--soft) }
.closed { display: grid; gap: 8px; place-content: center; min-height: 220px; text-align: center } .closed h2 { font-size: 20px } .closed p { color: var(--soft) }
@media (max-width: 760px) { main { grid-template-columns: minmax(0, 1fr); width: calc(100% - 24px) } .order { padding: 24px; border-radius: 20px 20px 0 0 } .desk { padding: 24px; border-radius: 0 0 20px 20px } .others ul { columns: 1 } h1 { font-size: 36px; margin-top: 10px } header { padding: 16px 18px } }
`
