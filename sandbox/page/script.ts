/** Refreshes what changed and sends the customer's form; plain browser code. */
export const script = String.raw`
const seen = new Map()
const remember = (root) => root.querySelectorAll('[data-live]').forEach((part) => { if (!part.querySelector('[data-live]')) seen.set(part.id, part.outerHTML) })
const ids = (part) => [...part.children].map((child) => child.id).join()
async function refresh() {
  if (document.hidden) return
  const next = new DOMParser().parseFromString(await (await fetch('/')).text(), 'text/html')
  const wall = next.getElementById('wall'), here = document.getElementById('wall')
  if (ids(wall) !== ids(here)) { here.replaceWith(document.adoptNode(wall)); remember(document) }
  else next.querySelectorAll('[data-live]').forEach((part) => {
    if (part.id === 'wall' || seen.get(part.id) === part.outerHTML) return
    seen.set(part.id, part.outerHTML)
    document.getElementById(part.id)?.replaceWith(document.adoptNode(part))
  })
  scrollDown()
}
const scrollDown = () => document.querySelectorAll('.screen').forEach((screen) => { screen.scrollTop = screen.scrollHeight })
const pen = document.getElementById('pen')
const showSubject = () => pen.classList.toggle('mail', ['resend', 'sendgrid'].includes(pen.kind.value))
pen.kind.addEventListener('change', showSubject)
document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-reply]')
  if (!button) return
  const { kind, account, from, to } = button.dataset
  Object.entries({ kind, account, from, to }).forEach(([name, value]) => { pen[name].value = value })
  showSubject()
  pen.text.focus()
})
pen.addEventListener('submit', async (event) => {
  event.preventDefault()
  const out = pen.querySelector('output')
  const fields = Object.fromEntries([...new FormData(pen)].filter(([, value]) => value !== ''))
  const kind = fields.kind, mail = kind === 'resend' || kind === 'sendgrid'
  delete fields.kind
  if (!mail) delete fields.subject
  if (kind === 'twilio-whatsapp') for (const name of ['from', 'to']) if (fields[name] && !fields[name].startsWith('whatsapp:')) fields[name] = 'whatsapp:' + fields[name]
  out.textContent = 'sending…'
  const answer = await fetch('/sandbox/inbound/' + kind.split('-')[0], { method: 'POST', body: JSON.stringify(fields) })
  const told = await answer.json()
  out.textContent = told.problems ? told.problems.map((p) => p.field + ': ' + p.message).join(', ')
    : told.delivered ? 'taken with ' + told.answered.status : told.note || 'not taken: ' + (told.answered ? told.answered.status || told.answered.body : told.error || 'no answer')
  if (told.delivered) pen.text.value = ''
  refresh()
})
remember(document)
showSubject()
scrollDown()
setInterval(() => refresh().catch(() => {}), 1500)
`
