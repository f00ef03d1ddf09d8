INSERT INTO public.kept VALUES (1);
