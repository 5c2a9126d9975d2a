/** `npm run bench` plays all contests, `npm run bench -- intake` one. */
const contests: Record<string, () => Promise<unknown>> = {
  payments: () => import('./payments/main.ts'),
  intake: () => import('./events/intake.ts'),
  'scale-out': () => import('./events/scale-out.ts'),
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !Object.hasOwn(contests, name))
if (unknown.length > 0) {
  throw new Error(`There is no ${unknown.join(', ')}; there are ${Object.keys(contests).join(', ')}.`)
}
for (const name of names.length > 0 ? names : Object.keys(contests)) {
  process.stdout.write(`\n## ${name}\n\n`)
  await contests[name]?.()
}
