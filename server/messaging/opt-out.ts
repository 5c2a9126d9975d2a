/** Twilio's default words, and how people in Latin America say the same. */
const stopWords = new Set([
  'STOP',
  'STOPALL',
  'UNSUBSCRIBE',
  'CANCEL',
  'END',
  'QUIT',
  'REVOKE',
  'OPTOUT',
  'BAJA',
  'DARME DE BAJA',
  'PARAR',
  'DETENER',
  'ALTO',
  'NO MAS',
  'SALIR',
  'CANCELAR SUSCRIPCION',
  'SAIR',
  'PARE',
])
const startWords = new Set(['START', 'UNSTOP', 'YES STOP', 'ALTA', 'SUSCRIBIR', 'VOLVER'])
const helpWords = new Set(['HELP', 'INFO'])

/** Only a message that is nothing but the word counts: "cancel my order" is no opt-out. */
export function readOptOut(text: string | undefined): 'stop' | 'start' | 'help' | undefined {
  const word = (text ?? '')
    .normalize('NFD')
    .replaceAll(/[\u0300-\u036f]/g, '')
    .replaceAll(/[^\p{L}\p{N}]+/gu, ' ')
    .trim()
    .toUpperCase()
  if (stopWords.has(word)) return 'stop'
  if (startWords.has(word)) return 'start'
  return helpWords.has(word) ? 'help' : undefined
}
