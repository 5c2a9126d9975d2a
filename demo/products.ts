export type Channel = 'whatsapp' | 'sms' | 'email'
export type ProviderId = 'twilio' | 'meta' | 'sendgrid' | 'resend'

export interface Connection {
  channel: Channel
  provider: ProviderId
  /** What the provider knows the account by. */
  account: string
  credentials: Readonly<Record<string, string>>
}

export interface Product {
  id: string
  name: string
  tenantId: string
  tenantName: string
  connections: readonly Connection[]
}

export const tableflow: Product = {
  id: 'tableflow',
  name: 'TableFlow',
  tenantId: 'tableflow_123',
  tenantName: 'Restaurante TableFlow',
  connections: [
    {
      channel: 'whatsapp',
      provider: 'twilio',
      account: 'AC_tableflow_twilio_sid',
      credentials: {
        accountSid: 'AC_tableflow_twilio_sid',
        authToken: 'tableflow_twilio_token',
        whatsappNumber: 'whatsapp:+14155238886',
      },
    },
    {
      channel: 'email',
      provider: 'resend',
      account: 're_tableflow_resend_key',
      credentials: { apiKey: 're_tableflow_resend_key', fromEmail: 'noreply@tableflow.com' },
    },
  ],
}

/** What TableFlow switches its e-mail to. */
export const tableflowSendgrid: Connection = {
  channel: 'email',
  provider: 'sendgrid',
  account: 'SG.new_tableflow_sendgrid_key',
  credentials: { apiKey: 'SG.new_tableflow_sendgrid_key', fromEmail: 'noreply@tableflow.com' },
}

export const genda: Product = {
  id: 'genda',
  name: 'Genda',
  tenantId: 'genda_456',
  tenantName: 'Clínica Genda',
  connections: [
    {
      channel: 'whatsapp',
      provider: 'meta',
      account: 'genda_phone_number_id',
      credentials: {
        accessToken: 'meta_genda_access_token',
        phoneNumberId: 'genda_phone_number_id',
        verifyToken: 'genda_verify_token',
      },
    },
    {
      channel: 'email',
      provider: 'resend',
      account: 're_genda_resend_key',
      credentials: { apiKey: 're_genda_resend_key', fromEmail: 'noreply@genda.com' },
    },
  ],
}

export const roe: Product = {
  id: 'roe',
  name: 'ROE',
  tenantId: 'roe_789',
  tenantName: 'Tienda ROE',
  connections: [
    {
      channel: 'email',
      provider: 'sendgrid',
      account: 'SG.roe_sendgrid_key',
      credentials: { apiKey: 'SG.roe_sendgrid_key', fromEmail: 'noreply@roe.com' },
    },
    {
      channel: 'sms',
      provider: 'twilio',
      account: 'AC_roe_twilio_sid',
      credentials: {
        accountSid: 'AC_roe_twilio_sid',
        authToken: 'roe_twilio_token',
        phoneNumber: '+1234567890',
      },
    },
  ],
}

export const customerPhone = '+56988888888'

export const orderByWhatsapp = {
  to: customerPhone,
  reference: 'ORD-123',
  body: `¡Hola Juan Pérez! 🎉

Tu pedido #ORD-123 ha sido confirmado.

📋 Detalles:
• Total: $15.990
• Tiempo estimado: 30 minutos

¡Gracias por elegir TableFlow! 🙏`,
}

export const orderByEmail = {
  to: 'juan@email.com',
  subject: 'Confirmación de pedido #ORD-123',
  htmlContent: `<h2>¡Hola Juan Pérez! 🎉</h2>
<p>Tu pedido #ORD-123 ha sido confirmado y está siendo preparado.</p>
<ul><li><strong>Total:</strong> $15.990</li><li><strong>Tiempo estimado:</strong> 30 minutos</li></ul>
<p>¡Gracias por elegir TableFlow! 🙏</p>`,
  textContent: '¡Hola Juan Pérez! Tu pedido #ORD-123 ha sido confirmado. Total: $15.990',
  from: 'noreply@tableflow.com',
}

export const reminderByWhatsapp = {
  to: customerPhone,
  body: `🔔 Recordatorio de cita

Hola! Te recordamos que tienes una cita mañana:

📅 Fecha: 15 de Enero, 2024
🕐 Hora: 10:00 AM
📍 Lugar: Clínica Genda - Av. Principal 123
👨‍⚕️ Doctor: Dr. Carlos González

¿Necesitas reprogramar? Responde "REPROGRAMAR"

¡Te esperamos! 👋`,
}

export const reminderByEmail = {
  to: 'cliente@email.com',
  subject: 'Recordatorio de cita - Genda',
  htmlContent: `<h2>🔔 Recordatorio de cita</h2>
<p>Hola! Te recordamos que tienes una cita mañana:</p>
<p>📅 15 de Enero, 2024 · 🕐 10:00 AM · 📍 Clínica Genda - Av. Principal 123</p>
<p>¿Necesitas reprogramar? <a href="https://genda.com/reprogramar">Haz clic aquí</a></p>`,
  from: 'noreply@genda.com',
}

export const deliveryByEmail = {
  to: 'cliente@email.com',
  subject: 'Tu pedido está en camino - ROE',
  htmlContent: `<h2>🚚 Tu pedido está en camino</h2>
<p>¡Buenas noticias! Tu pedido #ORD-456 está siendo entregado.</p>
<p>Rastrea tu pedido en tiempo real: <a href="https://roe.com/track/ORD-456">Ver ubicación</a></p>`,
  from: 'noreply@roe.com',
}

export const deliveryBySms = {
  to: customerPhone,
  body: 'ROE: Tu pedido #ORD-456 está en camino. Repartidor: Carlos +56912345678. Tiempo estimado: 15-30 min',
}
