"""The contract checked by Schemathesis: requests made up from the OpenAPI document, sent to a running platform."""
