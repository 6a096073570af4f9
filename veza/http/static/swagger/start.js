// A file of its own because the page's policy forbids inline scripts.
window.ui = SwaggerUIBundle({
  url: "/swagger/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  // Without this the page asks an outside service whether the document is valid.
  validatorUrl: null,
});
