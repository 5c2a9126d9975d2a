/** Every request of the mission's documents as it stands there: paths, field names, credentials and texts. */

const order = {
  customerName: 'Juan Pérez',
  orderId: 'ORD-123',
  total: '15.990',
  estimatedTime: '30 minutos',
  customerPhone: '+56988888888',
  customerEmail: 'juan@email.com',
}

export const setProvider = {
  tableflowWhatsapp: {
    tenantId: 'tableflow_123',
    channel: 'whatsapp',
    provider: 'twilio',
    credentials: {
      accountSid: 'AC_tableflow_twilio_sid',
      authToken: 'tableflow_twilio_token',
      whatsappNumber: 'whatsapp:+14155238886',
    },
    isActive: true,
  },
  tableflowEmail: {
    tenantId: 'tableflow_123',
    channel: 'email',
    provider: 'resend',
    credentials: { apiKey: 're_tableflow_resend_key', fromEmail: 'noreply@tableflow.com' },
    isActive: true,
  },
  gendaWhatsapp: {
    tenantId: 'genda_456',
    channel: 'whatsapp',
    provider: 'meta',
    credentials: {
      accessToken: 'meta_genda_access_token',
      phoneNumberId: 'genda_phone_number_id',
      verifyToken: 'genda_verify_token',
    },
    isActive: true,
  },
  gendaEmail: {
    tenantId: 'genda_456',
    channel: 'email',
    provider: 'resend',
    credentials: { apiKey: 're_genda_resend_key', fromEmail: 'noreply@genda.com' },
    isActive: true,
  },
  roeEmail: {
    tenantId: 'roe_789',
    channel: 'email',
    provider: 'sendgrid',
    credentials: { apiKey: 'SG.roe_sendgrid_key', fromEmail: 'noreply@roe.com' },
    isActive: true,
  },
  roeSms: {
    tenantId: 'roe_789',
    channel: 'sms',
    provider: 'twilio',
    credentials: {
      accountSid: 'AC_roe_twilio_sid',
      authToken: 'roe_twilio_token',
      phoneNumber: '+1234567890',
    },
    isActive: true,
  },
}

export const switches = {
  tableflowToSendgrid: {
    tenantId: 'tableflow_123',
    channel: 'email',
    provider: 'sendgrid',
    credentials: { apiKey: 'SG.new_tableflow_sendgrid_key', fromEmail: 'noreply@tableflow.com' },
    isActive: true,
  },
  gendaToTwilio: {
    tenantId: 'genda_456',
    channel: 'whatsapp',
    provider: 'twilio',
    credentials: {
      accountSid: 'AC.genda_twilio_sid',
      authToken: 'genda_twilio_token',
      whatsappNumber: 'whatsapp:+14155238886',
    },
    isActive: true,
  },
}

export const messages = {
  tableflowWhatsapp: {
    path: '/messaging/send/whatsapp',
    body: {
      tenant_id: 'tableflow_123',
      to: order.customerPhone,
      body: `¡Hola ${order.customerName}! 🎉
    
Tu pedido #${order.orderId} ha sido confirmado.

📋 Detalles:
• Total: $${order.total}
• Tiempo estimado: ${order.estimatedTime}

¡Gracias por elegir TableFlow! 🙏`,
    },
  },
  tableflowEmail: {
    path: '/messaging/send/email',
    body: {
      tenant_id: 'tableflow_123',
      to: order.customerEmail,
      subject: `Confirmación de pedido #${order.orderId}`,
      htmlContent: `
      <h2>¡Hola ${order.customerName}! 🎉</h2>
      <p>Tu pedido #${order.orderId} ha sido confirmado y está siendo preparado.</p>
      
      <h3>📋 Detalles del pedido:</h3>
      <ul>
        <li><strong>Total:</strong> $${order.total}</li>
        <li><strong>Tiempo estimado:</strong> ${order.estimatedTime}</li>
      </ul>
      
      <p>Te notificaremos cuando tu pedido esté listo.</p>
      
      <p>¡Gracias por elegir TableFlow! 🙏</p>
    `,
      textContent: `¡Hola ${order.customerName}! Tu pedido #${order.orderId} ha sido confirmado. Total: $${order.total}`,
      from: 'noreply@tableflow.com',
    },
  },
  gendaWhatsapp: {
    path: '/messaging/send/whatsapp',
    body: {
      tenant_id: 'genda_456',
      to: '+56988888888',
      body: `🔔 Recordatorio de cita
    
Hola! Te recordamos que tienes una cita mañana:

📅 Fecha: 15 de Enero, 2024
🕐 Hora: 10:00 AM
📍 Lugar: Clínica Genda - Av. Principal 123
👨‍⚕️ Doctor: Dr. Carlos González

¿Necesitas reprogramar? Responde "REPROGRAMAR"

¡Te esperamos! 👋`,
    },
  },
  gendaEmail: {
    path: '/messaging/send/email',
    body: {
      tenant_id: 'genda_456',
      to: 'cliente@email.com',
      subject: 'Recordatorio de cita - Genda',
      htmlContent: `
      <h2>🔔 Recordatorio de cita</h2>
      <p>Hola! Te recordamos que tienes una cita mañana:</p>
      
      <div style="background: #f5f5f5; padding: 20px; border-radius: 8px;">
        <p><strong>📅 Fecha:</strong> 15 de Enero, 2024</p>
        <p><strong>🕐 Hora:</strong> 10:00 AM</p>
        <p><strong>📍 Lugar:</strong> Clínica Genda - Av. Principal 123</p>
        <p><strong>👨‍⚕️ Doctor:</strong> Dr. Carlos González</p>
      </div>
      
      <p>¿Necesitas reprogramar? <a href="https://genda.com/reprogramar">Haz clic aquí</a></p>
      
      <p>¡Te esperamos! 👋</p>
    `,
      from: 'noreply@genda.com',
    },
  },
  roeEmail: {
    path: '/messaging/send/email',
    body: {
      tenant_id: 'roe_789',
      to: 'cliente@email.com',
      subject: 'Tu pedido está en camino - ROE',
      htmlContent: `
      <h2>🚚 Tu pedido está en camino</h2>
      <p>¡Buenas noticias! Tu pedido #ORD-456 está siendo entregado.</p>
      
      <h3>📦 Detalles de la entrega:</h3>
      <ul>
        <li><strong>Producto:</strong> iPhone 15 Pro Max</li>
        <li><strong>Repartidor:</strong> Carlos González</li>
        <li><strong>Teléfono:</strong> +56912345678</li>
        <li><strong>Tiempo estimado:</strong> 15-30 minutos</li>
      </ul>
      
      <p>Rastrea tu pedido en tiempo real: <a href="https://roe.com/track/ORD-456">Ver ubicación</a></p>
    `,
      from: 'noreply@roe.com',
    },
  },
  roeSms: {
    path: '/messaging/send/sms',
    body: {
      tenant_id: 'roe_789',
      to: '+56988888888',
      body: 'ROE: Tu pedido #ORD-456 está en camino. Repartidor: Carlos +56912345678. Tiempo estimado: 15-30 min',
    },
  },
  /** Of the document on separate databases. */
  separateDatabases: {
    path: '/messaging/send/email',
    body: {
      tenant_id: 'tableflow_123',
      to: 'cliente@email.com',
      subject: 'Confirmación de pedido',
      htmlContent: '<h1>¡Pedido confirmado!</h1>',
    },
  },
  /** Of the overview, section 5: the channel stands in the body. */
  general: {
    path: '/messaging/send',
    body: {
      tenant_id: 'tableflow_123',
      message: 'Tu pedido fue confirmado ✅',
      channel: 'whatsapp',
      to: '+56988888888',
    },
  },
}
