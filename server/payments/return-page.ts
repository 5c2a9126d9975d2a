const words: Readonly<Record<string, readonly [es: string, en: string]>> = {
  confirmed: ['Pago recibido', 'Payment received'],
  authorized: ['Pago autorizado', 'Payment authorized'],
  active: ['Medio de pago guardado', 'Payment method saved'],
  failed: ['El pago no se hizo', 'The payment did not go through'],
  canceled: ['Pago cancelado', 'Payment canceled'],
  expired: ['Se acabó el tiempo para pagar', 'The time to pay is over'],
}
const waiting = ['Estamos confirmando tu pago', 'Your payment is being confirmed'] as const
const unknown = ['Este enlace de pago ya no sirve', 'This payment link does not work any more'] as const

/** For customers whose shop gave no address to go on to. `status` undefined: the link is none of ours. */
export function renderReturnPage(status: string | undefined): string {
  const [es, en] = status === undefined ? unknown : (words[status] ?? waiting)
  return `<!doctype html>
<html lang="es">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${es}</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 18px/1.5 system-ui, sans-serif }
main { padding: 2rem; text-align: center }
h1 { font-size: 1.5rem; margin: 0 0 .5rem }
p { margin: 0; opacity: .7 }
</style>
</head>
<body><main><h1>${es}</h1><p lang="en">${en}</p></main></body>
</html>
`
}
