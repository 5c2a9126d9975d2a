interface FailureText {
  es: string
  en: string
}

/** Every reason a payment can fail for, with what to tell the customer. One list over all providers. */
export const failures = {
  insufficient_funds: {
    es: 'La tarjeta no tiene fondos suficientes. Usa otra tarjeta u otro medio de pago.',
    en: 'The card has insufficient funds. Use another card or another way to pay.',
  },
  card_declined: {
    es: 'El banco rechazó la tarjeta. Usa otra tarjeta o habla con tu banco.',
    en: 'The bank declined the card. Use another card or talk to your bank.',
  },
  call_issuer: {
    es: 'Tu banco debe autorizar este pago. Llámalo y vuelve a intentarlo.',
    en: 'Your bank has to authorize this payment. Call it and try again.',
  },
  expired_card: {
    es: 'La tarjeta está vencida. Usa otra tarjeta.',
    en: 'The card has expired. Use another card.',
  },
  invalid_card: {
    es: 'El número de la tarjeta no es correcto. Revísalo.',
    en: 'The card number is not correct. Check it.',
  },
  invalid_expiry: {
    es: 'La fecha de vencimiento no es correcta. Revísala.',
    en: 'The expiry date is not correct. Check it.',
  },
  invalid_security_code: {
    es: 'El código de seguridad no es correcto. Revísalo.',
    en: 'The security code is not correct. Check it.',
  },
  invalid_data: {
    es: 'Algún dato del pago no es correcto. Revísalo y vuelve a intentarlo.',
    en: 'Some detail of the payment is not correct. Check it and try again.',
  },
  card_disabled: {
    es: 'La tarjeta no está habilitada para este pago. Actívala con tu banco o usa otra.',
    en: 'The card is not enabled for this payment. Activate it with your bank or use another.',
  },
  lost_or_stolen: {
    es: 'No pudimos cobrar en esta tarjeta. Usa otra tarjeta.',
    en: 'We could not charge this card. Use another card.',
  },
  authentication_failed: {
    es: 'No se pudo confirmar tu identidad con el banco. Vuelve a intentarlo.',
    en: 'Your bank could not confirm that it is you. Try again.',
  },
  authentication_required: {
    es: 'Tu banco pide que confirmes este pago. Vuelve a pagar y sigue sus pasos.',
    en: 'Your bank asks you to confirm this payment. Pay again and follow its steps.',
  },
  fraud_suspected: {
    es: 'El pago fue rechazado por seguridad. Usa otro medio de pago.',
    en: 'The payment was declined for security reasons. Use another way to pay.',
  },
  limit_exceeded: {
    es: 'El monto supera el límite de la tarjeta. Usa otra tarjeta o un monto menor.',
    en: 'The amount is over the limit of the card. Use another card or a smaller amount.',
  },
  too_many_attempts: {
    es: 'Hubo demasiados intentos con esta tarjeta. Usa otra o espera hasta mañana.',
    en: 'There were too many attempts with this card. Use another or wait until tomorrow.',
  },
  duplicate: {
    es: 'Ya hiciste un pago igual hace poco. Revísalo antes de pagar otra vez.',
    en: 'You made the same payment a short while ago. Check it before you pay again.',
  },
  installments_invalid: {
    es: 'La tarjeta no acepta esa cantidad de cuotas. Elige otra.',
    en: 'The card does not accept that number of installments. Choose another.',
  },
  method_unavailable: {
    es: 'Este medio de pago ya no está disponible. Agrega otro.',
    en: 'This way to pay is not available any more. Add another.',
  },
  canceled_by_customer: {
    es: 'Cancelaste el pago. No se hizo ningún cobro.',
    en: 'You canceled the payment. Nothing was charged.',
  },
  timed_out: {
    es: 'Se acabó el tiempo para pagar. No se hizo ningún cobro.',
    en: 'The time to pay is over. Nothing was charged.',
  },
  processing_error: {
    es: 'El banco no pudo procesar el pago. Vuelve a intentarlo en unos minutos.',
    en: 'The bank could not process the payment. Try again in a few minutes.',
  },
  not_processed: {
    es: 'El pago no alcanzó a hacerse. No se hizo ningún cobro; vuelve a intentarlo.',
    en: 'The payment did not take place. Nothing was charged; try again.',
  },
  provider_refused: {
    es: 'No pudimos hacer el cobro. Vuelve a intentarlo o usa otro medio de pago.',
    en: 'We could not make the charge. Try again or use another way to pay.',
  },
  unknown_reason: {
    es: 'El pago fue rechazado. Usa otro medio de pago.',
    en: 'The payment was declined. Use another way to pay.',
  },
} as const satisfies Record<string, FailureText>

export type FailureCode = keyof typeof failures

export const failureCodes = Object.keys(failures) as [FailureCode, ...FailureCode[]]
