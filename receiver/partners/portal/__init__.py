"""The partner's page: endpoints and deliveries, seen and mended in a browser by whoever was given a link."""
