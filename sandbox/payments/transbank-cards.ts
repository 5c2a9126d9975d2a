/** Transbank’s own test cards: each always ends the same way. */
export type TestCard = {
  number: string
  brand: 'Visa' | 'AmericanExpress' | 'MasterCard' | 'Redcompra'
  kind: 'credit' | 'debit' | 'prepaid'
  isApproved: boolean
}

export const testCards: readonly TestCard[] = [
  { number: '4051885600446623', brand: 'Visa', kind: 'credit', isApproved: true },
  { number: '370000000002032', brand: 'AmericanExpress', kind: 'credit', isApproved: true },
  { number: '5186059559590568', brand: 'MasterCard', kind: 'credit', isApproved: false },
  { number: '4051884239937763', brand: 'Redcompra', kind: 'debit', isApproved: true },
  { number: '4511346660037060', brand: 'Redcompra', kind: 'debit', isApproved: true },
  { number: '5186008541233829', brand: 'Redcompra', kind: 'debit', isApproved: false },
  { number: '4051886000056590', brand: 'Visa', kind: 'prepaid', isApproved: true },
  { number: '5186174110629480', brand: 'MasterCard', kind: 'prepaid', isApproved: false },
]

export function findCard(number: string): TestCard | undefined {
  return testCards.find((card) => card.number === number)
}

export const kindNames: Record<TestCard['kind'], string> = {
  credit: 'Crédito',
  debit: 'Débito',
  prepaid: 'Prepago',
}

/** `payment_type_code`: 2 and 3 instalments are the ones without interest. */
export function paymentTypeOf(card: TestCard, installments: number): string {
  if (card.kind === 'debit') return 'VD'
  if (card.kind === 'prepaid') return 'VP'
  if (installments < 2) return 'VN'
  if (installments === 2) return 'S2'
  return installments === 3 ? 'SI' : 'VC'
}

/** The same number means something else on each level; a commerce has one of them. */
export const declineReasons: Record<1 | 2, Readonly<Record<string, string>>> = {
  1: {
    '-4': 'Rechazada por el emisor',
    '-1': 'Error en los datos ingresados',
    '-2': 'Error al procesar la tarjeta o la cuenta',
    '-3': 'Error en la transacción',
    '-5': 'Riesgo de posible fraude',
  },
  2: {
    '-3': 'Excede el monto máximo',
    '-1': 'Tarjeta inválida',
    '-2': 'Error de conexión',
    '-4': 'Fecha de expiración inválida',
    '-5': 'Problema en la autenticación',
    '-6': 'Rechazo general',
    '-7': 'Tarjeta bloqueada',
    '-8': 'Tarjeta vencida',
    '-9': 'Transacción no soportada',
    '-10': 'Problema en la transacción',
    '-11': 'Excede los reintentos de rechazos',
  },
}

export const usualDeclines: Record<1 | 2, number> = { 1: -4, 2: -3 }
